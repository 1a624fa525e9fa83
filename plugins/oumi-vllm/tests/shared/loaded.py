"""A loaded vLLM, and ways to ask it; for the tests of the folder `vllm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asking import ADAPTERS, TINY
from oumi_core.configs import GenerationParams, InferenceConfig, ModelParams

from oumi_vllm.engine import VLLMEngine

if TYPE_CHECKING:
    from oumi_core.engine import EngineConfig
    from oumi_core.inference import InferenceEngine
    from oumi_core.types import Conversation, Result

MODEL = ModelParams(TINY, torch_dtype="float32", model_max_length=1024)
SHARE = 0.3
"""Of the memory, what each engine takes: some tests load another beside this one."""
ENGINE_ARGS = {
    "enforce_eager": True,
    "gpu_memory_utilization": SHARE,
    "lora_adapters": [*ADAPTERS.values()],
}

made: list[VLLMEngine] = []


class Recorded(VLLMEngine):
    """Can be had from outside the run that made it, for the tests that ask an engine directly."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        made.append(self)


class Asks:
    """Runs rows through the loaded engine."""

    def __init__(self, engine: InferenceEngine) -> None:
        self.engine = engine

    def config(self, model: ModelParams | None = None, **generation: Any) -> InferenceConfig:
        params = GenerationParams(**{"max_new_tokens": 60, **generation})
        return InferenceConfig(model=model, generation=params)

    def __call__(
        self, *rows: Conversation, model: ModelParams | None = None, **generation: Any
    ) -> list[Result]:
        config = self.config(model, **generation)
        run = self.engine.run(list(rows), inference_config=config)
        return sorted(run, key=lambda result: result.index)

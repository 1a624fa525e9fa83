"""The LoRA adapters of a loaded engine, each known to vLLM by a number."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oumi_core.errors import ConfigError

from oumi_vllm import library
from oumi_vllm.adapters import check_fits, without_effect
from oumi_vllm.said import said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oumi_vllm.adapters import Adapter

__all__ = ["Loras"]


class Loras:
    """Adapters that vLLM has loaded. Changed only in the thread that owns the engine.

    vLLM takes no more adapters into a batch than `max_loras`, and finishes those that it has begun
    before it takes another; so rows of many adapters group themselves among those in flight.

    Attributes:
        plain: the `LoRARequest` of rows without an adapter; None, but for `hold_plain`.
    """

    def __init__(self) -> None:
        self._requests: dict[str, Any] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.plain: Any = None

    def get(self, name: str) -> Any:
        """The `LoRARequest` of an adapter; None if it is not loaded."""
        return self._requests.get(name)

    def hold_plain(self, llm: Any, adapters: Sequence[Adapter]) -> None:
        """Give rows without an adapter one that changes nothing, where vLLM needs that.

        On a CPU, vLLM 0.32 marks such rows with the index -1, and computes them with the last of
        its slots for adapters: with another row's adapter, or with what its warm-up left there.
        """
        if not library.is_cpu():
            return
        if not adapters:
            raise ConfigError(
                "engine_args.enable_lora: on a CPU, name the adapters in engine_args.lora_adapters"
            )
        self._folder = tempfile.TemporaryDirectory(prefix="oumi-vllm-")
        self.plain = self.add(llm, without_effect(adapters[0], Path(self._folder.name)))

    def forget(self) -> None:
        """Remove what was written for `hold_plain`."""
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, llm: Any, adapter: Adapter) -> Any:
        """Check an adapter, have vLLM load it; its `LoRARequest`.

        Raises:
            ConfigError: it does not fit the model or the engine, or vLLM refuses it.
        """
        known = self._requests.get(adapter.name)
        if known is not None:
            return known
        engine = llm.llm_engine
        model = engine.model_config
        check_fits(adapter, model.model, model.hf_text_config)
        limit = engine.vllm_config.lora_config.max_lora_rank
        if adapter.rank > limit:
            raise ConfigError(
                f"model.adapter_model: {adapter.name} is of rank {adapter.rank}, and the engine "
                f"was loaded for {limit}: set engine_args.max_lora_rank, or name the adapter in "
                "engine_args.lora_adapters"
            )
        cls = importlib.import_module("vllm.lora.request").LoRARequest
        name = adapter.name or "without-adapter"
        request = cls(name, len(self._requests) + 1, str(adapter.path))
        try:
            engine.add_lora(request)
        except Exception as error:  # what the workers raised comes as a plain Exception
            raise ConfigError(
                f"model.adapter_model: vLLM cannot load {adapter.name}: {said(error)}"
            ) from error
        self._requests[adapter.name] = request
        return request

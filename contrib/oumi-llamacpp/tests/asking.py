"""Short ways to make an engine and to ask it; for all tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oumi_core.configs import GenerationParams, ModelParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.types import Completion, Conversation, Message

from oumi_llamacpp.engine import LlamaCppEngine

if TYPE_CHECKING:
    from oumi_core.guided.constraint import Constraint

MODELS = Path(__file__).parents[3] / "tests" / "models"
DEMO = Path(__file__).parents[1] / "src" / "oumi_llamacpp" / "models" / "demo.gguf"

FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."

Ask = Callable[..., Completion]


def request(
    question: str = FRANCE,
    *,
    model: ModelParams | None = None,
    constraint: Constraint | None = None,
    **generation: Any,
) -> Request:
    params = GenerationParams(**{"max_new_tokens": 60, **generation})
    conversation = Conversation([Message("user", question)])
    return Request(conversation, model or ModelParams("demo"), params, constraint)


def new_engine(name: str = "demo", *, engine_args: Any = None, **model: Any) -> LlamaCppEngine:
    return LlamaCppEngine(EngineConfig(ModelParams(name, **model), engine_args=engine_args or {}))


def with_engine(
    engine: LlamaCppEngine, use: Callable[[LlamaCppEngine], Coroutine[Any, Any, Any]]
) -> Any:
    """Start the engine, use it, and stop it, on one loop."""

    async def whole() -> Any:
        await engine.start()
        try:
            return await use(engine)
        finally:
            await engine.stop()

    return asyncio.run(whole())

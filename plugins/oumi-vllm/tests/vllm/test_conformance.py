"""The loaded engine against core's tests of an engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest
from asking import ADAPTERS, TINY
from loaded import made
from oumi_core.configs import ModelParams
from oumi_core.engine import EngineConfig
from oumi_core.loop import run_blocking
from oumi_core.testing import EngineConformance

from oumi_vllm.engine import VLLMEngine

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from oumi_core.engine import Engine

T = TypeVar("T")

_LOADS = "loads vLLM once more; test_life stops an engine in the middle of its work"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("default"),  # torch and its kin warn of themselves
]


class TestVLLM(EngineConformance):
    engine_class = VLLMEngine
    config = EngineConfig(ModelParams(TINY, torch_dtype="float32"))
    adapter: ClassVar[str | None] = ADAPTERS["pirate"]
    name: ClassVar[str | None] = "vllm"
    not_tested: ClassVar[dict[str, str]] = {
        "test_stopping_frees_what_starting_took": _LOADS,
        "test_stopping_ends_what_is_in_flight": _LOADS,
    }

    @classmethod
    def engine(cls) -> Engine:
        return made[0]

    @classmethod
    def run(cls, work: Awaitable[T]) -> T:
        # On the loop that the engine was started on.
        async def within() -> T:
            async with asyncio.timeout(cls.patience):
                return await work

        return run_blocking(within())

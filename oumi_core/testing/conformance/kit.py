"""What the tests of an engine share: one engine, one loop, and questions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pytest

from oumi_core.configs import GenerationParams
from oumi_core.engine import Request
from oumi_core.errors import EngineError
from oumi_core.types import Completion, Conversation, Failure, Message, Role

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from oumi_core.engine import Capabilities, Engine, EngineConfig
    from oumi_core.guided.constraint import Constraint

__all__ = ["EngineKit", "tasks_beyond"]

T = TypeVar("T")


class EngineKit:
    """The engine under test, and what is asked of it.

    Attributes:
        engine_class: the class to test.
        config: what to make it from.
        question: a question that it answers with some words.
        patience: seconds that anything may take, the start included.
        not_tested: names of tests that cannot hold for this engine, each with the reason.
    """

    engine_class: ClassVar[type[Engine]]
    config: ClassVar[EngineConfig]
    question: ClassVar[str] = "What is the capital of France?"
    patience: ClassVar[float] = 120.0
    not_tested: ClassVar[Mapping[str, str]] = {}

    _runner: ClassVar[asyncio.Runner]
    _engine: ClassVar[Engine | None] = None
    _no_start: ClassVar[str | None] = None

    @classmethod
    def make_engine(cls) -> Engine:
        """A new engine, not started; override it if its config is known only when tests run."""
        return cls.engine_class(cls.config)

    @classmethod
    def engine(cls) -> Engine:
        """The engine that all tests ask, started when the first of them does."""
        if cls._no_start is not None:
            pytest.fail(f"the engine did not start: {cls._no_start}", pytrace=False)
        if cls._engine is None:
            engine = cls.make_engine()
            try:
                cls.run(engine.start())
            except Exception as error:
                cls._no_start = f"{type(error).__name__}: {error}"  # it may take minutes each time
                raise
            cls._engine = engine
        return cls._engine

    @classmethod
    def capabilities(cls) -> Capabilities:
        """What the engine declares."""
        return cls.engine_class.capabilities

    @classmethod
    def run(cls, work: Awaitable[T]) -> T:
        """Run something on the loop of the tests."""

        async def within() -> T:
            async with asyncio.timeout(cls.patience):
                return await work

        return cls._runner.run(within())

    @classmethod
    def request(
        cls,
        text: str | None = None,
        *,
        constraint: Constraint | None = None,
        conversation: Conversation | None = None,
        **generation: Any,
    ) -> Request:
        """What a run would send for a question; fields of `GenerationParams` by name."""
        if conversation is None:
            asked = cls.question if text is None else text
            conversation = Conversation([Message(Role.USER, asked)])
        params = GenerationParams(**{"max_new_tokens": 64, **generation})
        model = cls.engine().config.model
        return Request(conversation, model, params, constraint, row_id="0")

    @classmethod
    def answer(cls, request: Request) -> Completion:
        """What the engine says."""
        return cls.run(cls.engine().complete(request))

    @classmethod
    def outcome(cls, request: Request) -> Completion | Failure:
        """What the engine says, or how it fails the row."""
        try:
            return cls.answer(request)
        except EngineError as error:
            return error.failure

    @classmethod
    def needs(cls, declared: object, what: str) -> None:
        """Skip the test unless the engine declares what it is about."""
        if not declared:
            pytest.skip(f"the engine does not declare {what}")

    @classmethod
    def needs_param(cls, name: str) -> None:
        """Skip the test unless the engine declares that it honours a generation parameter."""
        cls.needs(name in cls.capabilities().generation, f"generation.{name}")

    # pytest's own names: called before and after the tests of a class, and before each.

    @classmethod
    def setup_class(cls) -> None:
        """Open the loop, and look at what is left out."""
        cls._runner = asyncio.Runner()
        cls._no_start = None
        for name, reason in cls.not_tested.items():
            if not (name.startswith("test_") and hasattr(cls, name)):
                pytest.fail(f"not_tested: {name} is no test of {cls.__name__}", pytrace=False)
            if not reason.strip():
                pytest.fail(f"not_tested: {name} is left out without a reason", pytrace=False)

    @classmethod
    def teardown_class(cls) -> None:
        """Stop the engine, and close the loop."""
        try:
            if cls._engine is not None:
                engine, cls._engine = cls._engine, None
                cls.run(engine.stop())
        finally:
            cls._runner.close()

    def setup_method(self, method: Any) -> None:
        """Leave out what is to be left out."""
        reason = self.not_tested.get(method.__name__)
        if reason is not None:
            pytest.skip(reason)


async def tasks_beyond(before: int) -> int:
    """How many more tasks than `before` there are; what closes may take some turns of the loop."""
    for _ in range(100):
        if len(asyncio.all_tasks()) <= before:
            return 0
        await asyncio.sleep(0.01)
    return len(asyncio.all_tasks()) - before

"""One answer, piece by piece, as its caller holds it."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, Self

import attrs

from oumi_core.bridge import Bridge
from oumi_core.errors import EngineError
from oumi_core.run.row import Row, classified
from oumi_core.types.completion import Completion
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from oumi_core.engine import Engine, Request
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.result import Result

    Put = Callable[[str], Coroutine[Any, Any, None]]
    OpenEngine = Callable[[Plan], AbstractAsyncContextManager[Engine]]

__all__ = ["TextStream"]


class TextStream:
    """Pieces of text as they come, by `for` or `async for`. One that is dropped is stopped."""

    def __init__(self, plan: Plan, engine: OpenEngine, conversation: Conversation) -> None:
        self._answering = _Answering(plan, engine, conversation)
        self._bridge: Bridge[str] = Bridge(self._answering.produce)
        weakref.finalize(self, self._bridge.cancel).atexit = False

    @property
    def completion(self) -> Completion | None:
        """The whole answer; None until the last piece was taken."""
        return self._answering.completion

    @property
    def result(self) -> Result | None:
        """The row's result, its constraint checked; None until the last piece was taken.

        An answer that was not accepted is raised as an `EngineError` after the last piece.
        """
        return self._answering.result

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        return next(self._bridge)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return await anext(self._bridge)

    def close(self) -> None:
        """Stop the generation, and wait until the engine has let go."""
        self._bridge.close()

    async def aclose(self) -> None:
        """The awaitable twin of `close`."""
        await self._bridge.aclose()


class _Answering:
    """The engine's side, on the private loop. Does not refer to the `TextStream`."""

    def __init__(self, plan: Plan, engine: OpenEngine, conversation: Conversation) -> None:
        self._plan = plan
        self._engine = engine
        self._conversation = conversation
        self.completion: Completion | None = None
        self.result: Result | None = None

    async def produce(self, put: Put) -> None:
        async with self._engine(self._plan) as engine:
            row = Row(engine, self._plan)
            started = time.perf_counter()
            request = row.request(0, self._conversation)
            completion = await _pieces(engine, request, put, started)
            seconds = time.perf_counter() - started
        self.completion = completion
        self.result = row.judge(0, self._conversation, completion, seconds)
        if self.result.error is not None:
            raise EngineError(self.result.error)


async def _pieces(engine: Engine, request: Request, put: Put, started: float) -> Completion:
    """Put each piece of text; the whole answer, with the time that the first piece took."""
    first: float | None = None
    pieces = engine.stream(request)
    try:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return attrs.evolve(piece, time_to_first_token=first)
            if piece.text:
                first = first or time.perf_counter() - started
                await put(piece.text)
    except EngineError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise EngineError(classified(engine, error)) from error
    finally:
        # An engine may give any iterator; one that is no generator has nothing to close.
        aclose = getattr(pieces, "aclose", None)
        if aclose is not None:
            await aclose()
    raise EngineError(Failure(FailureKind.TRANSIENT, "the stream ended without its completion"))

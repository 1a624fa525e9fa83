"""One answer, piece by piece, as its caller holds it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from oumi_core.bridge import Bridge
from oumi_core.errors import EngineError
from oumi_core.run.row import Row, classified
from oumi_core.types.completion import Completion
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from oumi_core.engine import Engine
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.result import Result

__all__ = ["TextStream"]


class TextStream:
    """Pieces of text as they come, by `for` or `async for`.

    Attributes:
        completion: the whole answer; None until the last piece was taken.
        result: the row's result, its constraint checked; None until then. An answer that does
            not fit its constraint is raised as an `EngineError` after the last piece.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Callable[[Plan], Awaitable[Engine]],
        conversation: Conversation,
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._conversation = conversation
        self._bridge: Bridge[str] = Bridge(self._produce)
        self.completion: Completion | None = None
        self.result: Result | None = None

    async def _produce(self, put: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        engine = await self._engine(self._plan)
        row = Row(engine, self._plan)
        started = time.perf_counter()
        request = row.request(0, self._conversation)
        first: float | None = None
        completion: Completion | None = None
        pieces = engine.stream(request)
        try:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    completion = piece
                elif piece.text:
                    first = first or time.perf_counter() - started
                    await put(piece.text)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(classified(engine, error)) from error
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # an async generator
        if completion is None:
            broken = Failure(FailureKind.TRANSIENT, "the stream ended without its completion")
            raise EngineError(broken)
        self._end(row, attrs.evolve(completion, time_to_first_token=first), started)

    def _end(self, row: Row, completion: Completion, started: float) -> None:
        seconds = time.perf_counter() - started
        self.completion = completion
        self.result = row.judge(0, self._conversation, completion, seconds)
        if self.result.error is not None:
            raise EngineError(self.result.error)

    def __iter__(self) -> Bridge[str]:
        return self._bridge

    def __next__(self) -> str:
        return next(self._bridge)

    def __aiter__(self) -> Bridge[str]:
        return self._bridge

    def close(self) -> None:
        """Stop the generation, and wait until the engine has let go."""
        self._bridge.close()

    async def aclose(self) -> None:
        """The awaitable twin of `close`."""
        await self._bridge.aclose()

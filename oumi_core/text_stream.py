"""One answer, piece by piece, as its caller holds it."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Self

import attrs

from oumi_core.bridge import Bridge
from oumi_core.errors import EngineError
from oumi_core.run.attempts import Again, Attempts
from oumi_core.run.row import Row, classified
from oumi_core.run.turns import Turn
from oumi_core.types.completion import Completion
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from oumi_core.bridge import Put
    from oumi_core.engine import Engine, Request
    from oumi_core.run.governor import Ticket
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.result import Result

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

    async def execute(self, put: Put[str]) -> None:
        """Answer on the loop that runs, and put each piece of text as it comes.

        What the iterators do on the private loop. Limits hold as in a run, and so do the retry
        policy and `row_deadline` until the first piece has come.

        Raises:
            EngineError: there is no answer, it broke off, or it was not accepted.
        """
        await self._answering.produce(put)

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

    async def produce(self, put: Put[str]) -> None:
        async with self._engine(self._plan) as engine:
            row = Row(engine, self._plan)
            workers = self._plan.num_workers or engine.num_workers
            attempts = Attempts(row, engine, self._plan, workers)
            turn: Turn[None] = Turn(0, None)
            request = row.request(0, self._conversation)
            completion = await _tried(engine, attempts, turn, request, put)
            result = row.judge(0, self._conversation, completion, 0.0)
            self.result = attempts.finished(turn, result)
        self.completion = completion
        if self.result.error is not None:
            raise EngineError(self.result.error)


async def _tried(
    engine: Engine, attempts: Attempts, turn: Turn[None], request: Request, put: Put[str]
) -> Completion:
    """Try as often as the retry policy says; not again once a piece was put."""
    while True:
        attempt = _Attempt(engine, attempts, turn, put)
        try:
            return await attempt.answer(request)
        except EngineError as error:
            outcome = attempts.follow(turn, error.failure, final=attempt.begun)
            if not isinstance(outcome, Again):
                raise EngineError(attempts.stopped_by or outcome) from error
        await asyncio.sleep(outcome.after)


class _Attempt:
    """One try of a stream.

    Attributes:
        begun: True when a piece was put, so that the answer cannot be begun again.
    """

    def __init__(self, engine: Engine, attempts: Attempts, turn: Turn[None], put: Put[str]) -> None:
        self._engine = engine
        self._attempts = attempts
        self._turn = turn
        self._put = put
        self.begun = False

    async def answer(self, request: Request) -> Completion:
        """Wait for leave to send, and put each piece of the answer.

        Raises:
            EngineError: there is no answer, or it broke off.
        """
        attempts, turn = self._attempts, self._turn
        deadline = asyncio.timeout_at(attempts.due(turn))
        ticket: Ticket | None = None
        try:
            async with deadline:
                ticket = await attempts.admit(turn, request.conversation)
                deadline.reschedule(attempts.due(turn))
                completion = await self._pieces(request, deadline)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and _is_canceled():
                if ticket is not None:
                    attempts.cancelled(ticket)
                raise
            failure = attempts.overdue() if deadline.expired() else classified(self._engine, error)
            if ticket is not None:
                attempts.ended(ticket, None, failure)
            raise EngineError(failure) from error
        attempts.ended(ticket, completion.usage, None)
        return completion

    async def _pieces(self, request: Request, deadline: asyncio.Timeout) -> Completion:
        """Put each piece of text; the whole answer, with the time that the first piece took."""
        clock = asyncio.get_running_loop().time
        started, first = clock(), None
        pieces = self._engine.stream(request)
        try:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return attrs.evolve(piece, time_to_first_token=first)
                if piece.text:
                    if not self.begun:
                        # From here on the pace is also that of whoever takes the pieces.
                        deadline.reschedule(None)
                        first, self.begun = clock() - started, True
                    full = self._put(piece.text)
                    if full is not None:
                        await full
        finally:
            # An engine may give any iterator; one that is no generator has nothing to close.
            aclose = getattr(pieces, "aclose", None)
            if aclose is not None:
                await aclose()
        raise EngineError(Failure(FailureKind.TRANSIENT, "the stream ended without its completion"))


def _is_canceled() -> bool:
    """True if somebody canceled this task; else something inside the engine was."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0

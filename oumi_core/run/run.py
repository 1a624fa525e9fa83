"""A run as its caller holds it: an iterator over results, a summary, and a way to stop it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

from oumi_core.bridge import Bridge
from oumi_core.errors import RunStopped
from oumi_core.run.attempts import Again, Attempts
from oumi_core.run.feed import Feed
from oumi_core.run.progress_file import Progress, reported
from oumi_core.run.row import Row
from oumi_core.run.rows import PlainRows
from oumi_core.run.summary import Summary, Tally
from oumi_core.run.turns import Turn, Turns
from oumi_core.run.workers import work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from oumi_core.engine import Engine
    from oumi_core.run.plan import Plan
    from oumi_core.run.resume import Output
    from oumi_core.run.rows import Rows
    from oumi_core.run.source import Source
    from oumi_core.types.result import Result

__all__ = ["Run"]

T = TypeVar("T")


class Run:
    """Results of a run as they finish: `for result in run`, or `async for` for one of `arun`.

    Lazy: it starts with the first result that is asked for. Leaving the loop early needs `close`
    (or `with`), which cancels what is in flight. A row's failure is in its result; the iteration
    itself raises only if the input cannot be read (`DataError`), the engine cannot be brought up,
    or the disk refuses (`RunStopped`).
    """

    def __init__(
        self,
        plan: Plan,
        engine: Callable[[Plan], Awaitable[Engine]],
        source: Source,
        output: Output | None = None,
        progress_path: str | None = None,
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._source = source
        self._output = output
        self._progress_path = progress_path
        self._turns: tuple[asyncio.AbstractEventLoop, Turns[Any]] | None = None
        self._paused = False
        self._tally = Tally(plan.unsupported)
        self._bridge: Bridge[Result] = Bridge(self.execute)
        self.total: int | None = None
        """The number of rows, from the start of the run on where it can be known; else None."""
        self.num_workers: int | None = plan.num_workers
        """Rows in flight; None until the run has started if the engine decides it."""

    async def execute(self, deliver: Callable[[Result], Coroutine[Any, Any, None]]) -> None:
        """Run every row on the private loop, and deliver each result as it finishes.

        What the iterators do; for callers that are on the private loop already.
        """
        async with reported(self._progress_path, self._progress):
            await self._execute(deliver)

    async def _execute(self, deliver: Callable[[Result], Coroutine[Any, Any, None]]) -> None:
        rows, self.total = await self._source.open()
        engine = await self._engine(self._plan)
        self.num_workers = self._plan.num_workers or engine.num_workers
        row = Row(engine, self._plan)
        attempts = Attempts(row, engine, self._plan, self.num_workers)
        try:
            if self._output is None:
                await self._work(PlainRows(rows), attempts, deliver)
                return
            async with self._output.opened(row, self._plan, rows) as resumable:
                await self._work(resumable, attempts, deliver)
                if self.stopped() is None:
                    await resumable.write_outputs(self._output.path)
        finally:
            self._tally.end()

    async def _work(
        self,
        rows: Rows[T],
        attempts: Attempts,
        deliver: Callable[[Result], Coroutine[Any, Any, None]],
    ) -> None:
        workers = self.num_workers or 1
        turns = Turns(Feed(rows.prepared()), most_waiting=workers)
        self._turns = asyncio.get_running_loop(), turns

        async def serve(turn: Turn[T]) -> None:
            result = rows.known(turn.row)
            if result is None:
                outcome = await attempts.send(turn, rows.conversation(turn.row))
                if isinstance(outcome, Again):
                    turns.again(turn, outcome.after)
                    return
                result = outcome
                await rows.keep(turn.row, result)
            self._tally.add(result)
            if attempts.stopped_by is not None:
                self._tally.stopped_by = attempts.stopped_by
                turns.stop()
            turns.done()
            await deliver(result)

        if self._tally.interrupted:
            turns.stop()
        if self._paused:
            turns.pause()
        try:
            await work(turns, serve, min(workers, self.total or workers))
        finally:
            self._turns = None
            await turns.close()

    def stop(self) -> None:
        """Start no further row; what is in flight finishes and is handed out. Any thread."""
        self._tally.interrupted = True
        if (going := self._turns) is not None:
            loop, turns = going
            loop.call_soon_threadsafe(turns.stop)

    def pause(self) -> None:
        """Start no further row until `resume`; what is in flight finishes. Any thread.

        For a consumer that takes results and cannot let go of them yet.
        """
        self._paused = True
        if (going := self._turns) is not None:
            loop, turns = going
            loop.call_soon_threadsafe(turns.pause)

    def resume(self) -> None:
        """Go on after `pause`. Any thread."""
        self._paused = False
        if (going := self._turns) is not None:
            loop, turns = going
            loop.call_soon_threadsafe(turns.resume)

    @property
    def in_flight(self) -> int:
        """Rows that workers are at: they are sent, or wait for leave to be."""
        going = self._turns
        return 0 if going is None else going[1].out

    def _progress(self) -> Progress:
        summary = self.summary()
        return Progress(self.total, summary.succeeded, summary.rows - summary.succeeded)

    def summary(self) -> Summary:
        """What the run has done so far."""
        return self._tally.summary()

    def stopped(self) -> RunStopped | None:
        """Why the run ended before its last row, as the error to raise; None if it did not."""
        summary = self.summary()
        if summary.stopped_by is not None:
            kind, message = summary.stopped_by.kind.value, summary.stopped_by.message
            text = f"the run stopped after {summary.rows} rows: {kind}: {message}"
            return RunStopped(text, failure=summary.stopped_by)
        if summary.interrupted:
            return RunStopped(f"the run was stopped after {summary.rows} rows")
        return None

    def __iter__(self) -> Bridge[Result]:
        return self._bridge

    def __aiter__(self) -> Bridge[Result]:
        return self._bridge

    def close(self) -> None:
        """Cancel what is in flight and wait until it has let go."""
        self._bridge.close()

    async def aclose(self) -> None:
        """The awaitable twin of `close`."""
        await self._bridge.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

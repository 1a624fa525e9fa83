"""A run as its caller holds it: an iterator over results, a summary, and a way to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from oumi_core.bridge import Bridge
from oumi_core.errors import RunStopped
from oumi_core.run.feed import Feed
from oumi_core.run.output import OutputFile
from oumi_core.run.row import Row
from oumi_core.run.summary import Summary, Tally
from oumi_core.run.workers import work

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable
    from typing import Any

    from oumi_core.engine import Engine
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.result import Result

__all__ = ["Run"]

_WINDOW = 4096
"""Rows that may end before an earlier one; see `OutputFile`."""


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
        rows: Iterable[Conversation] | AsyncIterable[Conversation],
        *,
        output_path: str | None = None,
        total: int | None = None,
    ) -> None:
        self._plan = plan
        self._engine = engine
        self._rows = rows
        self._output_path = output_path
        self._feed: Feed | None = None
        self._tally = Tally(plan.unsupported)
        self._bridge: Bridge[Result] = Bridge(self.execute)
        self.total = total
        """The number of rows, where it is known before the run; else None."""
        self.num_workers: int | None = plan.num_workers
        """Rows in flight; None until the run has started if the engine decides it."""

    async def execute(self, deliver: Callable[[Result], Coroutine[Any, Any, None]]) -> None:
        """Run every row on the private loop, and deliver each result as it finishes.

        What the iterators do; for callers that are on the private loop already.
        """
        engine = await self._engine(self._plan)
        self.num_workers = self._plan.num_workers or engine.num_workers
        self._feed = feed = Feed(self._rows)
        output = None
        if self._output_path is not None:
            window = max(_WINDOW, 4 * self.num_workers)
            output = OutputFile(self._output_path, window=window)

        async def settle(result: Result) -> None:
            self._tally.add(result)
            if result.error is not None and result.error.stops_run:
                self._stop_for(result)
            if output is not None:
                await output.add(result)
            await deliver(result)

        workers = self.num_workers if self.total is None else min(self.num_workers, self.total)
        ended = False
        try:
            await work(feed, Row(engine, self._plan).answer, settle, workers)
            ended = True
        finally:
            self._tally.end()
            feed.close()
            if output is not None:
                summary = self.summary()
                cut = not ended or summary.interrupted or summary.stopped_by is not None
                await (output.keep_partial() if cut else output.finish())

    def _stop_for(self, result: Result) -> None:
        if self._tally.stopped_by is None:
            self._tally.stopped_by = result.error
        if self._feed is not None:
            self._feed.stop()

    def stop(self) -> None:
        """Start no further row; what is in flight finishes and is handed out. Any thread."""
        self._tally.interrupted = True
        if self._feed is not None:
            self._feed.stop()

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

"""A run as its caller holds it: an iterator over results, a summary, and a way to stop it."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING, Self

from oumi_core.bridge import Bridge
from oumi_core.errors import RunStopped
from oumi_core.run.execution import Execution

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from oumi_core.bridge import Put
    from oumi_core.engine import Engine
    from oumi_core.run.plan import Plan
    from oumi_core.run.resume import Output
    from oumi_core.run.source import Source
    from oumi_core.run.summary import Summary
    from oumi_core.types.result import Result

__all__ = ["Run"]


class Run:
    """Results of a run as they finish: `for result in run`, or `async for` for one of `arun`.

    Lazy: it starts with the first result that is asked for. Leaving the loop early needs `close`
    (or `with`), which cancels what is in flight; a run that is dropped is canceled, too. A row's
    failure is in its result; the iteration itself raises only if the input cannot be read
    (`DataError`), the engine cannot be brought up, or the disk refuses (`RunStopped`).
    """

    def __init__(
        self,
        plan: Plan,
        engine: Callable[[Plan], AbstractAsyncContextManager[Engine]],
        source: Source,
        output: Output | None = None,
        progress_path: str | None = None,
    ) -> None:
        self._execution = Execution(plan, engine, source, output, progress_path)
        self._bridge: Bridge[Result] = Bridge(self._execution.execute)
        weakref.finalize(self, self._bridge.cancel).atexit = False

    async def execute(self, deliver: Put[Result]) -> None:
        """Run every row on the running loop, and deliver each result as it finishes.

        What the iterators do; for callers that are on the private loop already. What `deliver`
        returns, if anything, is awaited before its worker takes another row.
        """
        await self._execution.execute(deliver)

    @property
    def total(self) -> int | None:
        """The number of rows, from the start of the run on where it can be known; else None."""
        return self._execution.total

    @property
    def num_workers(self) -> int | None:
        """Rows in flight; None until the run has started if the engine decides it."""
        return self._execution.num_workers

    @property
    def in_flight(self) -> int:
        """Rows that workers are at: they are sent, or wait for leave to be."""
        return self._execution.in_flight

    def stop(self) -> None:
        """Start no further row; what is in flight finishes and is handed out. Any thread.

        An engine that is still being loaded is given up.
        """
        self._execution.stop()

    def pause(self) -> None:
        """Start no further row until `resume`; what is in flight finishes. Any thread.

        For a consumer that takes results and cannot let go of them yet.
        """
        self._execution.pause()

    def resume(self) -> None:
        """Go on after `pause`. Any thread."""
        self._execution.resume()

    def summary(self) -> Summary:
        """What the run has done so far."""
        return self._execution.tally.summary()

    def stopped(self) -> RunStopped | None:
        """Why the run ended before its last row, as the error to raise; None if it did not."""
        if not self._execution.is_cut():
            return None
        summary = self.summary()
        rows = f"{summary.rows} row" if summary.rows == 1 else f"{summary.rows} rows"
        failure = summary.stopped_by
        if failure is None:
            return RunStopped(f"the run was stopped after {rows}")
        reason = f"{failure.kind.value}: {failure.message}"
        return RunStopped(f"the run stopped after {rows}: {reason}", failure=failure)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Result:
        return next(self._bridge)

    def __aiter__(self) -> Self:
        # An input that is awaited belongs to the loop of whoever awaits the results.
        with contextlib.suppress(RuntimeError):
            self._execution.home = asyncio.get_running_loop()
        return self

    async def __anext__(self) -> Result:
        return await anext(self._bridge)

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

"""A run at work, on the private loop: from rows to results."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from oumi_core.errors import OumiError
from oumi_core.run.attempts import Again, Attempts
from oumi_core.run.budget import Budget, Expense
from oumi_core.run.budgeted import BudgetedAttempts
from oumi_core.run.feed import Feed
from oumi_core.run.progress_file import Progress, reported
from oumi_core.run.row import Row
from oumi_core.run.rows import PlainRows
from oumi_core.run.summary import Tally
from oumi_core.run.turns import Turn, Turns
from oumi_core.run.workers import work
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from oumi_core.bridge import Put
    from oumi_core.engine import Engine
    from oumi_core.run.plan import Plan
    from oumi_core.run.resume import Output
    from oumi_core.run.rows import Rows
    from oumi_core.run.source import Source
    from oumi_core.types.completion import Usage

    Deliver = Put[Result]

__all__ = ["Execution"]

T = TypeVar("T")


class Execution:
    """What a `Run` does, apart from the `Run` that its caller holds.

    Nothing here refers to the `Run`, so that one that is dropped can be noticed and canceled.

    Attributes:
        plan: what to do.
        tally: what was done so far.
        total: the number of rows, from the start on where it can be known; else None.
        num_workers: rows in flight; None until the start if the engine decides it.
        home: the loop in which an awaited input lives; None if there is none but the private one.
    """

    def __init__(
        self,
        plan: Plan,
        engine: Callable[[Plan], AbstractAsyncContextManager[Engine]],
        source: Source,
        output: Output | None,
        progress_path: str | None,
    ) -> None:
        self.plan = plan
        self.tally = Tally(plan.unsupported, plan.price)
        self.total: int | None = None
        self.num_workers: int | None = plan.num_workers
        self.home: asyncio.AbstractEventLoop | None = None
        self._engine = engine
        self._source = source
        self._output = output
        self._progress_path = progress_path
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns: Turns[Any] | None = None
        self._attempts: Attempts | None = None
        self._budget: Budget | None = None
        self._starting: asyncio.Timeout | None = None
        self._began = 0.0
        self._paused = False

    async def execute(self, deliver: Deliver) -> None:
        """Run every row, and deliver each result as it finishes.

        Raises:
            OumiError: the input cannot be read, the engine cannot be brought up, the disk refuses.
        """
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        try:
            async with reported(self._progress_path, self._progress):
                await self._execute(deliver)
        except OumiError as error:
            self.tally.error = error
            raise
        finally:
            self.tally.end()

    async def _execute(self, deliver: Deliver) -> None:
        rows, self.total = await self._source.open()
        budget, price = self.plan.budget, self.plan.price
        if self._output is None:
            self._budget = None if budget is None else Budget(budget, price, Expense())
            await self._with_engine(PlainRows(rows), deliver)
            return
        # The output first: what is wrong with it is said before a model is loaded.
        async with self._output.opened(self.plan, rows) as resumable:
            if budget is not None:
                self._budget = Budget(budget, price, await resumable.spent(budget))
            await self._with_engine(resumable, deliver)
            if not self.is_cut():
                await resumable.write_outputs(self._output.path)

    async def _with_engine(self, rows: Rows[T], deliver: Deliver) -> None:
        async with contextlib.AsyncExitStack() as stack:
            engine = await self._started(stack)
            if engine is None:
                return
            self.num_workers = self.plan.num_workers or engine.num_workers
            row = Row(engine, self.plan)
            if self._budget is None:
                attempts = Attempts(row, engine, self.plan, self.num_workers)
            else:
                attempts = BudgetedAttempts(row, engine, self.plan, self.num_workers, self._budget)
            await self._work(rows, row, attempts, deliver)

    async def _started(self, stack: contextlib.AsyncExitStack) -> Engine | None:
        """The engine, in use until `stack` ends; None if the run is stopped before it is up."""
        try:
            async with asyncio.timeout(None) as self._starting:
                if not self.tally.interrupted:
                    return await stack.enter_async_context(self._engine(self.plan))
        except TimeoutError:
            if self._starting is None or not self._starting.expired():
                raise
        finally:
            self._starting = None
        return None

    async def _work(self, rows: Rows[T], row: Row, attempts: Attempts, deliver: Deliver) -> None:
        workers = self.num_workers or 1
        self._attempts = attempts
        self._turns = turns = Turns(Feed(rows.prepared(), self.home), most_waiting=workers)

        async def serve(turn: Turn[T], task: asyncio.Task[Any]) -> None:
            result = rows.known(turn.row, row) if rows.keeps else None
            if result is None:
                outcome = await attempts.send(turn, rows.conversation(turn.row), task)
                if isinstance(outcome, Again):
                    turns.again(turn, outcome.after)
                    return
                result = outcome
            elif result.ok:
                attempts.has_succeeded()
            if rows.keeps:
                if result.ok or attempts.stopped_by is None:
                    result = await rows.keep(turn.row, result, turn.assumed_usage)
                else:  # it met what stopped the run: no failure of its own
                    await _keep_to_be_done(rows, turn, result.total_usage)
            self.tally.add(result)
            if attempts.stopped_by is not None:
                self.tally.stopped_by = attempts.stopped_by
                self._stop_now(turns)
            turns.done()
            full = deliver(result)
            if full is not None:
                await full

        self._do_as_told(turns)
        try:
            with self._held_to_budget(turns):
                await work(turns, serve, min(workers, self.total or workers))
            await self._keep_dropped(rows, turns)
        finally:
            await turns.close()
            self._turns = self._attempts = None

    def _do_as_told(self, turns: Turns[Any]) -> None:
        """Do what was asked for before there were turns."""
        if self.tally.interrupted:
            self._stop_now(turns)
        if self._paused:
            turns.pause()

    async def _keep_dropped(self, rows: Rows[T], turns: Turns[T]) -> None:
        for turn in turns.dropped:
            self.tally.spend(turn.earlier_usage)
            await _keep_to_be_done(rows, turn, turn.earlier_usage)

    @contextlib.contextmanager
    def _held_to_budget(self, turns: Turns[Any]) -> Iterator[None]:
        """Stop when the budget is used up, and say so if rows are left."""
        budget = self._budget
        if budget is None:
            yield
            return
        budget.begin(self._began, lambda: self._stop_now(turns))
        try:
            yield
        finally:
            budget.end()
        if self.tally.rows != self.total:
            self.tally.stopped_by = self.tally.stopped_by or budget.used_up

    def _stop_now(self, turns: Turns[Any]) -> None:
        """Begin no row, and send none that waits for leave; what was sent goes on."""
        turns.stop()
        if self._attempts is not None:
            self._attempts.stop()

    def _give_up_starting(self) -> None:
        if self._starting is not None:
            self._starting.reschedule(0.0)

    def is_cut(self) -> bool:
        """True if the run ended before its last row."""
        tally = self.tally
        return tally.stopped_by is not None or (tally.interrupted and tally.rows != self.total)

    # From any thread.

    def stop(self) -> None:
        """Start no further row; give up waiting for the engine."""
        self.tally.interrupted = True
        self._tell(self._stop_now)
        if self._loop is not None and self._starting is not None:
            self._loop.call_soon_threadsafe(self._give_up_starting)

    def pause(self) -> None:
        """Start no further row until `resume`."""
        self._paused = True
        self._tell(Turns.pause)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        self._tell(Turns.resume)

    def _tell(self, what: Callable[[Turns[Any]], None]) -> None:
        loop, turns = self._loop, self._turns
        if loop is not None and turns is not None:
            loop.call_soon_threadsafe(what, turns)

    @property
    def in_flight(self) -> int:
        """Rows that workers are at."""
        turns = self._turns
        return 0 if turns is None else turns.out

    def _progress(self) -> Progress:
        summary = self.tally.summary()
        return Progress(self.total, summary.succeeded, summary.rows - summary.succeeded)


async def _keep_to_be_done(rows: Rows[T], turn: Turn[T], paid: Usage | None) -> None:
    """Keep what a row has cost that a stopped run gives up; the next run tries it again."""
    if paid is None and turn.assumed_usage is None:
        return
    failure = Failure(FailureKind.CANCELED, "the run was stopped before an answer was taken")
    given_up = Result(
        turn.index,
        rows.conversation(turn.row),
        error=failure,
        attempts=turn.attempts,
        earlier_usage=paid,
    )
    await rows.keep(turn.row, given_up, turn.assumed_usage)

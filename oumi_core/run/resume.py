"""Rows of a run with an output: taken from the journal where they are there, answered where not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING

import attrs
import msgspec

from oumi_core.data.jsonl import conversation_line
from oumi_core.errors import DataError
from oumi_core.run.budget import Expense, expense_of
from oumi_core.run.journal import Entry, Journal
from oumi_core.run.keys import DIGEST_BYTES, RowKeys
from oumi_core.run.output import line_of, write_outputs
from oumi_core.run.record import record_of, restored
from oumi_core.run.rows import Rows
from oumi_core.run.spending import Asked
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.maker import maker_of
from oumi_core.types.result import Result

if TYPE_CHECKING:
    from oumi_core.configs import BudgetParams
    from oumi_core.run.journal import Stored
    from oumi_core.run.plan import Plan
    from oumi_core.run.row import Row
    from oumi_core.types.completion import Usage
    from oumi_core.types.conversation import Conversation

__all__ = ["Output", "Prepared", "ResumableRows"]


@attrs.frozen
class Prepared:
    """A row of the input, and what the journal has for it.

    Attributes:
        index: its place in the input.
        conversation: the row.
        digest: its key.
        stored: what an earlier run had for it; None if there is nothing.
        refused: why it cannot be sent or written; None if it can.
    """

    index: int
    conversation: Conversation
    digest: bytes
    stored: Stored | None = None
    refused: Failure | None = None


_prepared = maker_of(Prepared)  # one a row


@attrs.frozen
class Output:
    """Where a run's answers go, and what becomes of those that are there.

    Attributes:
        path: the output file; its journal lies beside it.
        engine_name: part of each row's key.
        fresh: True to forget all earlier results.
        retry_failed: True to try all failed rows again; else those that may succeed by themselves.
    """

    path: str
    engine_name: str
    fresh: bool = False
    retry_failed: bool = False

    @contextlib.asynccontextmanager
    async def opened(
        self, plan: Plan, rows: Iterable[Conversation] | AsyncIterable[Conversation]
    ) -> AsyncIterator[ResumableRows]:
        """The rows' way through the journal, which is closed afterwards.

        Raises:
            ConfigError: the output or its journal cannot be written, or another run has it.
        """
        asked = Asked(plan.model.model_name, plan.price)
        journal = await asyncio.to_thread(Journal, self.path, asked)
        try:
            if self.fresh:
                await asyncio.to_thread(journal.forget)
            keys = RowKeys(self.engine_name, plan)
            yield ResumableRows(rows, keys, journal, retry_failed=self.retry_failed)
        finally:
            await journal.close()


class ResumableRows(Rows[Prepared]):
    """Rows that are looked up in the journal when they are read, and kept in it when they end."""

    def __init__(
        self,
        rows: Iterable[Conversation] | AsyncIterable[Conversation],
        keys: RowKeys,
        journal: Journal,
        *,
        retry_failed: bool,
    ) -> None:
        self._rows = rows
        self._keys = keys
        self._journal = journal
        self._retry_failed = retry_failed

    def prepared(self) -> Iterable[Prepared] | AsyncIterable[Prepared]:
        """The rows with what the journal has for them; looked up one by one as they are read."""
        rows = self._rows
        return self._each_awaited(rows) if isinstance(rows, AsyncIterable) else self._each(rows)

    def _each(self, rows: Iterable[Conversation]) -> Iterator[Prepared]:
        for index, conversation in enumerate(rows):
            yield self._prepared(index, conversation)

    async def _each_awaited(self, rows: AsyncIterable[Conversation]) -> AsyncIterator[Prepared]:
        index = 0
        async for conversation in rows:
            yield await asyncio.to_thread(self._prepared, index, conversation)
            index += 1

    def _prepared(self, index: int, conversation: Conversation) -> Prepared:
        try:
            digest = self._keys.of(conversation)
            if conversation.metadata or conversation.extra:
                conversation_line(conversation)  # before it is paid for: can it be written?
        except _UNWRITABLE as error:
            reason = f"the row cannot be written as JSON: {_first_fault(error)}"
            refused = Failure(FailureKind.BAD_REQUEST, reason)
            return Prepared(index, conversation, bytes(DIGEST_BYTES), None, refused)
        stored = self._journal.find(digest) if self._journal.resumes else None
        if stored is not None:
            # Taken even if it is to be replaced: an equal row must not replace it, too.
            self._journal.take(stored, index)
        return _prepared(index, conversation, digest, stored)

    def conversation(self, row: Prepared) -> Conversation:
        """What a row asks."""
        return row.conversation

    def known(self, row: Prepared, judge: Row) -> Result | None:
        """The result of an earlier run if it needs no other attempt, fitted to the row as it is."""
        if row.refused is not None:
            return Result(row.index, row.conversation, error=row.refused, attempts=0)
        if row.stored is None:
            return None
        stored = row.stored
        try:
            result = restored(stored.record, stored.line, row.index, row.conversation)
        except (ValueError, KeyError, TypeError):
            return None  # damaged: as good as none
        if result.completion is not None:
            judged = judge.judge(row.index, row.conversation, result.completion, result.latency)
            if judged.ok:
                return attrs.evolve(
                    judged,
                    attempts=result.attempts,
                    reused=True,
                    earlier_usage=result.earlier_usage,
                )
        if result.error is None or result.error.retryable or self._retry_failed:
            return None
        return result

    async def keep(self, row: Prepared, result: Result, assumed: Usage | None = None) -> Result:
        """As the base: write a result into the journal; it is on disk when this returns.

        Raises:
            RunStopped: the disk refused.
        """
        stored = row.stored
        replaced = None if stored is None else stored.record
        try:
            line, record = line_of(result), record_of(result, replaced, assumed)
        except _UNWRITABLE as error:
            result, line = _unwritable(row, result, error)
            record = record_of(result, replaced, assumed)
        if stored is not None and (stored.ok, stored.line) == (result.ok, line) and result.reused:
            return result
        replaces = None if stored is None else stored.id
        await self._journal.add(Entry(row.digest, result.index, result.ok, line, record, replaces))
        return result

    async def spent(self, params: BudgetParams) -> Expense:
        """What earlier runs have spent.

        Raises:
            ConfigError: there is a `max_cost`, and no price for a model that one of them asked.
            RunStopped: the disk refused.
        """
        if not self._journal.resumes:
            return Expense()
        spent = await asyncio.to_thread(self._journal.spent)
        return expense_of(params, spent)

    async def write_outputs(self, output_path: str) -> None:
        """Write the output file, and that of the failed rows; for a run that saw every row.

        Raises:
            RunStopped: the disk refused.
        """
        await asyncio.to_thread(write_outputs, self._journal, output_path)


_UNWRITABLE = (DataError, TypeError, ValueError, AttributeError, RecursionError)
"""What writing a value as JSON may raise that JSON has no form for; a row of another type, too."""


def _first_fault(error: Exception) -> str:
    return error.faults[0] if isinstance(error, DataError) else type(error).__name__


def _unwritable(row: Prepared, result: Result, error: Exception) -> tuple[Result, bytes]:
    """A failure in the place of a result that cannot be written, and its line."""
    failure = result.error or Failure(
        FailureKind.INVALID_OUTPUT,
        f"the answer cannot be written as JSON: {_first_fault(error)}",
    )
    failed = Result(
        row.index,
        row.conversation,
        error=failure,
        attempts=result.attempts,
        latency=result.latency,
        earlier_usage=result.total_usage,
    )
    line = msgspec.json.encode({"failure": {**failure.to_dict(), "index": row.index}}) + b"\n"
    return failed, line

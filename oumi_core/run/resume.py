"""Rows of a run with an output: taken from the journal where they are there, answered where not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from oumi_core.run.journal import Entry, Journal
from oumi_core.run.keys import RowKeys
from oumi_core.run.output import line_of, write_outputs
from oumi_core.run.record import record_of, restored
from oumi_core.run.rows import Rows

if TYPE_CHECKING:
    from oumi_core.run.journal import Stored
    from oumi_core.run.plan import Plan
    from oumi_core.run.row import Row
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.result import Result

__all__ = ["Output", "Prepared", "ResumableRows"]


@attrs.frozen
class Prepared:
    """A row of the input, and what the journal has for it.

    Attributes:
        conversation: the row.
        digest: its key.
        replaces: the failure of an earlier run that is tried again; None if there is none.
        result: the earlier result that stands; None if the row is to be answered.
    """

    conversation: Conversation
    digest: bytes
    replaces: int | None = None
    result: Result | None = None


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
        self, row: Row, plan: Plan, rows: Iterable[Conversation] | AsyncIterable[Conversation]
    ) -> AsyncIterator[ResumableRows]:
        """The rows' way through the journal, which is closed afterwards.

        Raises:
            ConfigError: the output or its journal cannot be written, or another run has it.
        """
        journal = await asyncio.to_thread(Journal, self.path)
        try:
            if self.fresh:
                await asyncio.to_thread(journal.forget)
            keys = RowKeys(self.engine_name, plan)
            yield ResumableRows(rows, row, keys, journal, retry_failed=self.retry_failed)
        finally:
            await journal.close()


class ResumableRows(Rows[Prepared]):
    """Rows that are looked up in the journal when they are read, and kept in it when they end."""

    def __init__(
        self,
        rows: Iterable[Conversation] | AsyncIterable[Conversation],
        row: Row,
        keys: RowKeys,
        journal: Journal,
        *,
        retry_failed: bool,
    ) -> None:
        self._rows = rows
        self._row = row
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
        digest = self._keys.of(conversation)
        stored = self._journal.find(digest) if self._journal.resumes else None
        if stored is None:
            return Prepared(conversation, digest)
        result = self._standing(stored, index, conversation)
        if result is not None:
            record = stored.record if stored.ok == result.ok else record_of(result)
            stored = attrs.evolve(stored, ok=result.ok, line=line_of(result), record=record)
        # Taken even if it is to be replaced: an equal row must not replace it, too.
        self._journal.take(stored, index)
        return Prepared(conversation, digest, None if result else stored.id, result)

    def _standing(self, stored: Stored, index: int, conversation: Conversation) -> Result | None:
        """The stored result if it needs no other attempt, fitted to the row as it is now."""
        result = restored(stored.record, stored.line, index, conversation)
        if result.completion is not None:
            judged = self._row.judge(index, conversation, result.completion, result.latency)
            if judged.ok:
                return attrs.evolve(judged, attempts=result.attempts, reused=True)
        if result.error is None or result.error.retryable or self._retry_failed:
            return None
        return result

    def conversation(self, row: Prepared) -> Conversation:
        """What a row asks."""
        return row.conversation

    def known(self, row: Prepared) -> Result | None:
        """The earlier result that stands."""
        return row.result

    async def keep(self, row: Prepared, result: Result) -> None:
        """Write a result into the journal; it is on disk when this returns.

        Raises:
            RunStopped: the disk refused.
        """
        await self._journal.add(
            Entry(
                row.digest,
                result.index,
                result.ok,
                line_of(result),
                record_of(result),
                row.replaces,
            )
        )

    async def write_outputs(self, output_path: str) -> None:
        """Write the output file, and that of the failed rows; for a run that saw every row.

        Raises:
            RunStopped: the disk refused.
        """
        await asyncio.to_thread(write_outputs, self._journal, output_path)

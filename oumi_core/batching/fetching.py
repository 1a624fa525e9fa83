"""How far a batch is, and its results: asked of the backend, and kept in the manifest."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Final

import attrs

from oumi_core.batching.building import place_in
from oumi_core.batching.given_rows import GivenRows
from oumi_core.batching.outcome import Outcome, outcome_of, write_outcome
from oumi_core.batching.sending import handles_of
from oumi_core.batching.status import BatchError, BatchInfo, BatchStatus, PartStatus
from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oumi_core.batching.backend import BatchBackend
    from oumi_core.batching.manifest import Manifest
    from oumi_core.batching.patience import Patience
    from oumi_core.batching.records import PartRecord
    from oumi_core.guided.constraint import Constraint
    from oumi_core.run.row import Row
    from oumi_core.types.conversation import Conversation
    from oumi_core.wire.batch import BatchLine

__all__ = ["Fetching", "info_of"]

LOST: Final = "not_found"
"""The code of the error of a part that the backend took and no longer has."""

_GROUP: Final = 256
"""Results that are written at once, while the loop does other things."""


def info_of(manifest: Manifest) -> BatchInfo:
    """A batch as it was last seen. Blocks."""
    facts = manifest.facts
    parts = manifest.parts()
    current = [part for part in parts if not part.ended or part.round == parts[-1].round]
    outcomes = manifest.outcomes()
    completed = outcomes.get(Outcome.OK, 0)
    failed = sum(outcomes.values()) - completed
    for part in parts:
        if part.ended or part.status is None or part.status.counts is None:
            continue
        known = manifest.outcomes(part.number)
        good = known.get(Outcome.OK, 0)
        # What the backend counts and what is here already are the same rows.
        completed += max(0, part.status.counts.completed - good)
        failed += max(0, part.status.counts.failed - (sum(known.values()) - good))
    windows = [part.status.expires_at for part in current if part.status is not None]
    return BatchInfo(
        id=facts.batch_id,
        status=_status_over(current),
        total_requests=facts.rows,
        completed_requests=completed,
        failed_requests=failed,
        engine=facts.engine.rpartition(":")[2],
        batching=facts.batching,
        model=facts.model,
        parts=len(parts),
        part_handles=tuple(part.handle for part in parts if part.handle is not None),
        errors=tuple(_errors(manifest, current)),
        created_at=facts.created_at,
        expires_at=min((at for at in windows if at is not None), default=None),
        outcomes=outcomes,
    )


def _status_over(parts: Sequence[PartRecord]) -> BatchStatus | str:
    """One state for all parts; see `BatchInfo.status`."""
    states = [BatchStatus.VALIDATING if p.status is None else p.status.status for p in parts]
    live = [s for s, part in zip(states, parts, strict=True) if not part.is_terminal]
    if not live:
        return max(states, key=_rank_of_end, default=BatchStatus.COMPLETED)
    unknown = [state for state in live if not isinstance(state, BatchStatus)]
    if unknown:
        return unknown[0]
    if BatchStatus.CANCELLING in live:
        return BatchStatus.CANCELLING
    least = min(live, key=_rank_of_step)
    begun = any(state is not BatchStatus.VALIDATING for state in states)
    return BatchStatus.IN_PROGRESS if least is BatchStatus.VALIDATING and begun else least


_STEPS: Final = [BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS, BatchStatus.FINALIZING]
_ENDS: Final = [
    BatchStatus.COMPLETED,
    BatchStatus.CANCELLED,
    BatchStatus.EXPIRED,
    BatchStatus.FAILED,
]
"""From the best end to the worst."""


def _rank_of_step(state: BatchStatus | str) -> int:
    return _STEPS.index(BatchStatus(state))


def _rank_of_end(state: BatchStatus | str) -> int:
    return _ENDS.index(BatchStatus(state))


def _errors(manifest: Manifest, parts: Sequence[PartRecord]) -> list[BatchError]:
    found = []
    for part in parts:
        for error in part.status.errors if part.status is not None else ():
            row = None if error.line is None else manifest.place_of_line(part.number, error.line)
            found.append(attrs.evolve(error, row=row))
    return found


class Fetching:
    """Asks the backend of one batch, and keeps what it says.

    Args:
        manifest: the batch.
        backend: what carries it.
        patience: makes the calls.
        judge: checks answers as a run does.
        constraint: what the requests held.
    """

    def __init__(
        self,
        manifest: Manifest,
        backend: BatchBackend,
        patience: Patience,
        judge: Row,
        constraint: Constraint | None,
    ) -> None:
        self._manifest = manifest
        self._backend = backend
        self._patience = patience
        self._judge = judge
        self._constraint = constraint
        self._given = GivenRows(manifest)

    async def look(self) -> None:
        """See how far each part is that was not at its end.

        Raises:
            EngineError, RunStopped: the backend cannot be asked.
        """
        for part in await asyncio.to_thread(self._manifest.parts):
            if part.handle is not None and not part.is_terminal:
                status = await self._status(part)
                await asyncio.to_thread(self._manifest.seen, part.number, status)

    async def _status(self, part: PartRecord) -> PartStatus:
        handle = part.handle or ""
        try:
            return await self._patience.call(functools.partial(self._backend.status, handle))
        except EngineError as error:
            if error.failure.kind is not FailureKind.NOT_FOUND:
                raise
            # A wrong address answers like this, too, but does not list batches.
            if await handles_of(self._backend, self._patience, [part]):
                raise
            gone = BatchError(f"the backend no longer has it: {error.failure.message}", LOST)
            return PartStatus(handle, BatchStatus.FAILED, errors=(gone,))

    async def fetch(self, *, partial: bool) -> None:
        """Bring the results of parts that have ended; with `partial`, also what others have.

        Raises:
            EngineError, RunStopped: they cannot be read.
        """
        for part in await asyncio.to_thread(self._manifest.parts):
            if part.status is None or part.ended or not (partial or part.is_terminal):
                continue
            await self._patience.call(functools.partial(self._ingest, part, part.status))

    async def _ingest(self, part: PartRecord, status: PartStatus) -> None:
        """Read a part's results to their end, and only then let them count."""
        manifest = self._manifest
        await asyncio.to_thread(manifest.drop_gathered)
        lost = any(error.code == LOST for error in status.errors)
        if part.handle is not None and not lost:
            await self._read(status)
        silent = _Silent(status) if part.is_terminal else None
        await asyncio.to_thread(manifest.ingest, part, silent)

    async def _read(self, status: PartStatus) -> None:
        group: list[BatchLine] = []
        async with contextlib.aclosing(self._backend.results(status, self._constraint)) as lines:
            async for line in lines:
                group.append(line)
                if len(group) == _GROUP:
                    await asyncio.to_thread(self._gather, group)
                    group = []
        await asyncio.to_thread(self._gather, group)

    def _gather(self, lines: Sequence[BatchLine]) -> None:
        batch_id = self._manifest.facts.batch_id
        with self._given.reading() as row_at:
            self._manifest.gather(
                (place, *self._judged(place, row_at(place), line))
                for line in lines
                if (place := place_in(batch_id, line.custom_id)) is not None
            )

    def _judged(self, place: int, row: Conversation, line: BatchLine) -> tuple[str, bytes]:
        failure = line.failure
        if line.completion is not None:
            failure = self._judge.judge(place, row, line.completion, 0.0).error
        return outcome_of(failure).value, write_outcome(line.completion, failure)


class _Silent:
    """What becomes of rows that a part which has ended says nothing of."""

    def __init__(self, status: PartStatus) -> None:
        self._status = status.status
        self._own = {error.line: error for error in status.errors if error.line is not None}
        self._general = next((error for error in status.errors if error.line is None), None)

    def __call__(self, line: int | None) -> tuple[str, bytes]:
        """Outcome and record of the row of a line."""
        failure = self._failure(line)
        return outcome_of(failure).value, write_outcome(None, failure)

    def _failure(self, line: int | None) -> Failure:
        if self._status is BatchStatus.EXPIRED:
            return Failure(FailureKind.EXPIRED, f"the batch's window closed {_BEFORE}")
        if self._status is BatchStatus.CANCELLED:
            return Failure(FailureKind.CANCELED, f"the batch was cancelled {_BEFORE}")
        if line in self._own:
            error = self._own[line]
            return Failure(FailureKind.BAD_REQUEST, error.message, code=error.code)
        # What is wrong with the batch says nothing about this row: it may go well in another one.
        if self._general is not None:
            why = f"the batch failed {_BEFORE}: {self._general.message}"
            return Failure(FailureKind.MISSING, why, code=self._general.code)
        if self._status is BatchStatus.FAILED:
            return Failure(FailureKind.MISSING, f"the batch failed {_BEFORE}")
        return Failure(FailureKind.MISSING, "the batch holds neither an answer nor an error for it")


_BEFORE: Final = "before this row was done"

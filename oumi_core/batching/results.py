"""The results of a batch in the order that its user wants, each joined to its own row."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING

import attrs

from oumi_core.batching.outcome import read_outcome
from oumi_core.errors import DataError
from oumi_core.run.keys import DIGEST_BYTES, sent_of
from oumi_core.types.conversation import Conversation
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from oumi_core.batching.manifest import Manifest
    from oumi_core.run.row import Row

__all__ = ["BatchResult", "read_results"]


@attrs.frozen
class BatchResult:
    """What there is of a batch's results; Oumi's name for it.

    Attributes:
        results: the rows that have a result, good or bad, in order. The `index` of each is its
            place in the conversations that were given, else in the submission.
        unfinished: the indices of rows that have none yet.
    """

    results: tuple[Result, ...]
    unfinished: tuple[int, ...] = ()

    @property
    def successful(self) -> list[tuple[int, Conversation]]:
        """Index and answered conversation of each row with an accepted answer."""
        return [(result.index, result.conversation) for result in self.results if result.ok]

    @property
    def failed_indices(self) -> list[int]:
        """The indices of the rows that failed."""
        return [result.index for result in self.results if not result.ok]

    @property
    def error_messages(self) -> dict[int, str]:
        """Why each failed row failed."""
        return {
            result.index: f"{result.error.kind.value}: {result.error.message}"
            for result in self.results
            if result.error is not None
        }

    @property
    def has_failures(self) -> bool:
        """True if a row failed."""
        return any(not result.ok for result in self.results)


def read_results(
    manifest: Manifest, judge: Row, conversations: Sequence[Conversation] | None
) -> Iterator[Result | int]:
    """The result of each row, or its index if it has none yet. Blocks.

    Args:
        manifest: the batch.
        judge: makes results of answers, as in a run.
        conversations: the rows that are wanted, in the order that is wanted; None for those of the
            submission. Equal rows have their results in the order in which they were submitted.

    Raises:
        DataError: a conversation is not one of this batch; names the first of them.
    """
    if conversations is None:
        records = _Records(manifest.results())
        for place, row in enumerate(manifest.rows()):
            yield _result(place, Conversation.from_json(row), records.at(place), judge)
        return
    for index, place in enumerate(_places(manifest, conversations)):
        yield _result(index, conversations[index], manifest.record_at(place), judge)


class _Records:
    """Hands out what there is for one place after another."""

    def __init__(self, records: Iterator[tuple[int, bytes]]) -> None:
        self._records = records
        self._next = next(records, None)

    def at(self, place: int) -> bytes | None:
        if self._next is None or self._next[0] != place:
            return None
        record = self._next[1]
        self._next = next(self._records, None)
        return record


def _places(manifest: Manifest, conversations: Sequence[Conversation]) -> list[int]:
    by_digest: dict[bytes, deque[int]] = {}
    for place, row in enumerate(manifest.rows()):
        by_digest.setdefault(_digest(Conversation.from_json(row)), deque()).append(place)
    places = []
    unknown = []
    for index, conversation in enumerate(conversations):
        waiting = by_digest.get(_digest(conversation))
        if waiting:
            places.append(waiting.popleft())
        else:
            unknown.append(index)
    if unknown:
        raise DataError(
            f"conversations[{unknown[0]}]: batch {manifest.facts.batch_id} holds no row that asks "
            f"this{_and_others(len(unknown) - 1)}; give the conversations that were submitted, in "
            "any order, or none"
        )
    return places


def _digest(conversation: Conversation) -> bytes:
    """What tells a row from others: all that is sent for it, as it is once it was written."""
    return hashlib.blake2b(sent_of(conversation), digest_size=DIGEST_BYTES).digest()


def _and_others(count: int) -> str:
    return f", nor {count} others" if count else ""


def _result(
    index: int, conversation: Conversation, record: bytes | None, judge: Row
) -> Result | int:
    if record is None:
        return index
    line = read_outcome(record)
    if line.completion is not None:  # an answer that was not accepted says again why
        return judge.judge(index, conversation, line.completion, 0.0)
    failure = line.failure or Failure(FailureKind.MISSING, "the manifest has lost its result")
    return Result(index, conversation, error=failure)

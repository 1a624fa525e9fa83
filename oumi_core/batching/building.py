"""Building a batch: rows in, one by one; out come part files and the rows of a manifest."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import IO, TYPE_CHECKING, Final

import attrs
import msgspec

from oumi_core.batching.manifest import PartRecord
from oumi_core.batching.outcome import Outcome, write_outcome
from oumi_core.data.jsonl import conversation_line
from oumi_core.errors import EngineError
from oumi_core.run.keys import DIGEST_BYTES, sent_of
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from oumi_core.batching.backend import BatchLimits
    from oumi_core.engine import Request
    from oumi_core.types.conversation import Conversation

__all__ = ["Builder", "Built", "custom_id_of", "digest_of", "place_and_digest"]

_LONGEST_PLACE: Final = 18
"""Digits; a place that has more is not one, and no database can hold it."""

_GROUP: Final = 512
"""Rows that are inserted at once."""


def digest_of(conversation: Conversation) -> bytes:
    """What tells a row from others by what is sent for it: 16 bytes."""
    return hashlib.blake2b(sent_of(conversation), digest_size=DIGEST_BYTES).digest()


def custom_id_of(place: int, digest: bytes) -> str:
    """What a row is called at the backend.

    Its place finds it; its digest makes sure that no answer is ever given to another row.
    """
    return f"{place}-{digest.hex()}"


def place_and_digest(custom_id: str) -> tuple[int, bytes] | None:
    """The way back from `custom_id_of`; None for an id that is not of our making."""
    place, _, digest = custom_id.partition("-")
    if len(place) > _LONGEST_PLACE:
        return None
    try:
        return int(place), bytes.fromhex(digest)
    except ValueError:
        return None


@attrs.frozen
class Built:
    """What was built.

    Attributes:
        parts: the parts, whose files are written.
        rows: how many rows there are.
        content: a digest of all rows in their order.
    """

    parts: tuple[PartRecord, ...]
    rows: int
    content: bytes


class Builder:
    """Writes requests to part files, as few as the limits allow.

    Args:
        request: makes the request of a row; raises `EngineError` for one that cannot be asked.
        line: writes a request as a line, as a backend does.
        limits: what fits into one part.
        path: where the part of a number is written.
        first_number: the number of the first part.
        round_number: which round the parts belong to.
    """

    def __init__(
        self,
        request: Callable[[int, Conversation], Request],
        line: Callable[[str, Request], bytes],
        limits: BatchLimits,
        path: Callable[[int], Path],
        *,
        first_number: int = 1,
        round_number: int = 1,
    ) -> None:
        self._request = request
        self._line = line
        self._limits = limits
        self._path = path
        self._number = first_number - 1
        self._round = round_number
        self._part: _PartFile | None = None
        self._parts: list[PartRecord] = []

    def build(self, rows: Iterable[Conversation], database: sqlite3.Connection) -> Built:
        """Write all rows, and their records into a new manifest.

        Raises:
            DataError: the input is faulty.
            OSError: the disk refuses.
        """
        content = hashlib.blake2b(digest_size=DIGEST_BYTES)
        records: list[tuple[int, bytes, int | None, int | None, bytes]] = []
        count = 0
        database.execute("BEGIN")
        for place, conversation in enumerate(rows):
            kept, digest, failure = _identity(conversation)
            content.update(digest)
            part, line = None, None
            if failure is None:
                added = self.add(place, digest, conversation)
                if isinstance(added, Failure):
                    failure = added
                else:
                    part, line = added
            if failure is not None:
                refused = (place, None, Outcome.FAILED.value, write_outcome(None, failure))
                database.execute("INSERT INTO result VALUES (?, ?, ?, ?)", refused)
            records.append((place, digest, part, line, kept))
            if len(records) == _GROUP:
                database.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?)", records)
                records.clear()
            count += 1
        database.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?)", records)
        database.execute("COMMIT")
        return Built(self.finish(), count, content.digest())

    def add(
        self, place: int, digest: bytes, conversation: Conversation
    ) -> tuple[int, int] | Failure:
        """Write one row: its part and line there, or why it cannot be sent."""
        try:
            request = self._request(place, conversation)
            line = self._line(custom_id_of(place, digest), request)
        except EngineError as error:
            return error.failure
        most = self._limits.max_bytes
        if most is not None and len(line) > most:
            return Failure(
                FailureKind.BAD_REQUEST,
                f"the request takes {len(line):,} bytes, and a file of requests may have {most:,}",
            )
        part = self._part
        if part is None or not part.has_room(len(line), self._limits):
            part = self._next_part()
        return self._number, part.write(line)

    def _next_part(self) -> _PartFile:
        self._close_part()
        self._number += 1
        self._part = _PartFile(self._path(self._number))
        return self._part

    def _close_part(self) -> None:
        if self._part is not None:
            self._parts.append(self._part.closed(self._number, self._round))
            self._part = None

    def finish(self) -> tuple[PartRecord, ...]:
        """All parts, written to their ends."""
        self._close_part()
        return tuple(self._parts)

    def close(self) -> None:
        """Close the file that is being written, if the work was broken off."""
        if self._part is not None:
            self._part.close()


class _PartFile:
    """A part's file while it is written."""

    def __init__(self, path: Path) -> None:
        path.touch(0o600)
        self._file: IO[bytes] = path.open("wb", buffering=1 << 20)
        self._sha256 = hashlib.sha256()
        self._requests = 0
        self._size = 0

    def has_room(self, size: int, limits: BatchLimits) -> bool:
        if limits.max_requests is not None and self._requests >= limits.max_requests:
            return False
        return limits.max_bytes is None or self._size + size <= limits.max_bytes

    def write(self, line: bytes) -> int:
        self._file.write(line)
        self._sha256.update(line)
        self._size += len(line)
        self._requests += 1
        return self._requests

    def close(self) -> None:
        self._file.close()

    def closed(self, number: int, round_number: int) -> PartRecord:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return PartRecord(
            number,
            round_number,
            token=secrets.token_hex(16),
            requests=self._requests,
            size=self._size,
            sha256=self._sha256.hexdigest(),
        )


def _identity(conversation: Conversation) -> tuple[bytes, bytes, Failure | None]:
    """A row as it is kept, its digest, and why it cannot be either."""
    try:
        return conversation_line(conversation), digest_of(conversation), None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = f"the row cannot be written as JSON: {_first_line(error)}"
        failure = Failure(FailureKind.BAD_REQUEST, reason)
        return msgspec.json.encode({"messages": []}), bytes(DIGEST_BYTES), failure


def _first_line(error: Exception) -> str:
    faults = getattr(error, "faults", None)
    return faults[0] if faults else type(error).__name__

"""Building the parts of a batch: rows in, one by one; out come files of requests."""

from __future__ import annotations

import math
import os
import secrets
from typing import IO, TYPE_CHECKING, Final

from oumi_core.batching.manifest import part_path
from oumi_core.batching.quota import BYTES_A_TOKEN
from oumi_core.batching.records import PartRecord, Span
from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oumi_core.batching.backend import BatchLimits
    from oumi_core.engine import Request
    from oumi_core.types.conversation import Conversation

__all__ = ["Builder", "custom_id_of", "place_in"]

_LONGEST_PLACE: Final = 18
"""Digits; a place that has more is not one, and no database can hold it."""

_TAG: Final = 8
"""Characters of the batch's id: a random number, that many hexadecimal digits long."""

_BUFFER: Final = 1 << 20


def custom_id_of(batch_id: str, place: int) -> str:
    """What a row is called at the backend: by its place, which the manifest keeps for good.

    The end of the batch's id tells it from a row of another batch.
    """
    return f"{place}-{batch_id[-_TAG:]}"


def place_in(batch_id: str, custom_id: str | None) -> int | None:
    """The way back from `custom_id_of`; None for an id that is not of this batch."""
    digits = (custom_id or "").partition("-")[0]
    if not digits.isdecimal() or len(digits) > _LONGEST_PLACE:
        return None
    place = int(digits)
    # Written once more: `007` and digits of other scripts are ids that nobody sent.
    return place if custom_id_of(batch_id, place) == custom_id else None


class Builder:
    """Writes requests to part files, as few as the limits allow.

    Args:
        batch_id: the batch.
        request: makes the request of a row; raises `EngineError` for one that cannot be asked.
        line: writes a request as a line, as a backend does.
        limits: what fits into one part.
        folder: where the parts are written.
        first_number: the number of the first part.
        round_number: which round the parts belong to.
    """

    def __init__(
        self,
        batch_id: str,
        request: Callable[[int, Conversation], Request],
        line: Callable[[str, Request], bytes],
        limits: BatchLimits,
        folder: Path,
        *,
        first_number: int = 1,
        round_number: int = 1,
    ) -> None:
        self._tag = custom_id_of(batch_id, 0)[1:]
        self._request = request
        self._line = line
        self._most_bytes = math.inf if limits.max_bytes is None else limits.max_bytes
        self._most_requests = math.inf if limits.max_requests is None else limits.max_requests
        quota = limits.enqueued_tokens
        room = math.inf if quota is None else quota * BYTES_A_TOKEN
        self._full = min(self._most_bytes, room)
        self._folder = folder
        self._number = first_number - 1
        self._round = round_number
        self._file: IO[bytes] | None = None
        self._requests = self._size = 0
        self._run_line = self._run_place = self._run_count = 0
        self._parts: list[PartRecord] = []
        self._spans: list[Span] = []

    def add(self, place: int, conversation: Conversation) -> Failure | None:
        """Write one row; why it cannot be sent, if it cannot."""
        try:
            line = self._line(f"{place}{self._tag}", self._request(place, conversation))
        except EngineError as error:
            return error.failure
        size = len(line)
        if size > self._most_bytes:
            return Failure(
                FailureKind.BAD_REQUEST,
                f"the request takes {size:,} bytes, and a file of requests may have "
                f"{self._most_bytes:,}",
            )
        if (
            self._file is None
            or self._requests >= self._most_requests
            or self._size + size > self._full
        ):
            self._next_part()
        assert self._file is not None  # noqa: S101 - there is one now
        self._file.write(line)
        self._size += size
        self._requests += 1
        if place != self._run_place + self._run_count:
            self._close_run(place)
        self._run_count += 1
        return None

    def _next_part(self) -> None:
        self._close_part()
        self._number += 1
        path = part_path(self._folder, self._number)
        path.touch(0o600)
        self._file = path.open("wb", buffering=_BUFFER)
        self._run_place = -1

    def _close_run(self, place: int) -> None:
        """A row does not follow the one before: begin another span."""
        if self._run_count:
            self._spans.append(Span(self._number, self._run_line, self._run_place, self._run_count))
        self._run_line, self._run_place, self._run_count = self._requests, place, 0

    def _close_part(self) -> None:
        if self._file is None:
            return
        self._close_run(-1)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        self._parts.append(
            PartRecord(self._number, self._round, secrets.token_hex(16), self._requests, self._size)
        )
        self._requests = self._size = 0

    def finish(self) -> tuple[list[PartRecord], list[Span]]:
        """All parts, written to their ends, and which rows stand where in them."""
        self._close_part()
        return self._parts, self._spans

    def close(self) -> None:
        """Close the file that is being written; also if the work was broken off."""
        if self._file is not None:
            self._file.close()
            self._file = None

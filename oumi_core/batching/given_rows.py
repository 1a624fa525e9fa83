"""The rows of a batch whose answers have a form of their own to fit, found by their places."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING

from oumi_core.types.conversation import Conversation
from oumi_core.wire.given_body import FORMAT, GIVEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oumi_core.batching.manifest import Manifest

__all__ = ["GivenRows"]

_MARKS = tuple(f'"{name}"'.encode() for name in (GIVEN, FORMAT))


class GivenRows:
    """Finds the rows that bring a `response_format`; no other row is kept in mind. Blocks.

    Args:
        manifest: the batch.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._starts: dict[int, int] | None = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[int], Conversation]]:
        """What gives the row of a place; one without messages for a row that brings nothing.

        Raises:
            ConfigError: the batch's rows are gone.
        """
        if self._starts is None:
            self._starts = dict(self._found())
        if not self._starts:
            yield lambda _: _NOTHING
            return
        with self._manifest.open_rows() as file:
            yield lambda place: self._read(file, place)

    def _read(self, file: IO[bytes], place: int) -> Conversation:
        start = (self._starts or {}).get(place)
        if start is None:
            return _NOTHING
        file.seek(start)
        return Conversation.from_json(file.readline())

    def _found(self) -> Iterator[tuple[int, int]]:
        start = 0
        for place, line in enumerate(self._manifest.rows()):
            # A prompt that quotes these words does no harm.
            if all(mark in line for mark in _MARKS):
                yield place, start
            start += len(line)


_NOTHING = Conversation([])

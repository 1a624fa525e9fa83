"""Conversations from standard input, read as they come."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import TYPE_CHECKING, Final

from oumi_core.data.jsonl import parse_conversations
from oumi_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oumi_core.types.conversation import Conversation

__all__ = ["STANDARD_INPUT", "standard_input"]

STANDARD_INPUT: Final = "-"
"""What stands for it as an `input_path`."""

_BUFFER: Final = 1 << 16


@contextlib.contextmanager
def standard_input() -> Iterator[Iterator[Conversation]]:
    """The conversations of standard input; a read that still waits when the context ends is ended.

    Whoever writes may hold the other end open for ever. The thread that waits for it must not keep
    a program that was told to stop from ending.

    Raises:
        DataError: it is closed; by the iterator, the next line is faulty: `standard input:LINE`.
    """
    if sys.stdin is None or sys.stdin.closed:
        raise DataError("standard input: is closed; give --input_path FILE")
    wake, let_go = os.pipe()
    try:
        lines = io.BufferedReader(_Input(sys.stdin.fileno(), wake), _BUFFER)
        yield parse_conversations(lines, "standard input")
    finally:
        # The reading end stays open: a thread may be looking at it now. It goes with the program.
        os.close(let_go)


class _Input(io.RawIOBase):
    """A file descriptor that is at its end also when the other end of `wake` is closed."""

    def __init__(self, descriptor: int, wake: int) -> None:
        self._descriptor = descriptor
        self._wake = wake

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io gives this one
        ready, _, _ = select.select([self._descriptor, self._wake], [], [])
        if self._wake in ready:
            return 0
        piece = os.read(self._descriptor, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

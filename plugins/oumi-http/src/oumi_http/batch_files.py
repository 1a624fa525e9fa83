"""A batch's files of results: brought to this machine whole, then read in pieces."""

from __future__ import annotations

import asyncio
import tempfile
from typing import TYPE_CHECKING

from oumi_core.errors import EngineError, RunStopped

from oumi_http.answers import refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO

    from oumi_http.batch_api import BatchApi

__all__ = ["download", "line_blocks"]

_OK = range(200, 300)
_BLOCK = 1 << 18
"""Bytes of lines that are handed on together: some hundred answers."""


async def download(api: BatchApi, file_id: str, file: BinaryIO) -> None:
    """Write a file of the server into an open one, piece by piece, and go back to its begin.

    Raises:
        EngineError: the server does not give it, or not to its end.
        RunStopped: there is no room for it.
    """
    async with api.content(file_id) as answer:
        if answer.head.status not in _OK:
            body = b"".join([piece async for piece in answer.pieces])
            raise EngineError(refusal(answer.head._replace(body=body)))
        async for piece in answer.pieces:
            await asyncio.to_thread(_store, file, piece)
    file.seek(0)


async def line_blocks(file: BinaryIO) -> AsyncIterator[list[bytes]]:
    """The lines of a file, some at a time."""
    while lines := await asyncio.to_thread(file.readlines, _BLOCK):
        yield lines


def _store(file: BinaryIO, piece: bytes) -> None:
    try:
        file.write(piece)
        file.flush()
    except OSError as error:
        raise RunStopped(
            f"the results of a batch cannot be stored in {tempfile.gettempdir()}: "
            f"{error.strerror}; make room, or set TMPDIR, and ask for them again"
        ) from error

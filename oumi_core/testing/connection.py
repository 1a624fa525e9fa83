"""One connection of a `FaultServer`: reads requests, writes replies, in plain HTTP/1.1."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from oumi_core.testing.received import Received
from oumi_core.testing.replies import Ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.testing.replies import Reply

__all__ = ["Connection"]


class Connection:
    """Serves one connection until a reply or the client ends it.

    Args:
        number: which connection of the server it is, from 1.
        reader: what the client sends.
        writer: what the client gets.
        answer: called with each request as it has arrived, gives the reply.
        answered: called when a reply is out, or cannot be got out any more.
    """

    def __init__(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        answer: Callable[[Received], Reply],
        answered: Callable[[], None],
    ) -> None:
        self._number = number
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._answered = answered

    async def serve(self) -> None:
        """Answer request after request; returns when the connection is over."""
        try:
            going_on = True
            while going_on:
                request = await self._read()
                reply = self._answer(request)
                try:
                    going_on = await self._write(reply)
                finally:
                    self._answered()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away: as good an end as any
        except asyncio.CancelledError:
            self._writer.transport.abort()  # the server is closed: nobody reads what is left
            raise
        finally:
            self._writer.close()

    async def _read(self) -> Received:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ", 2)
        fields = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await self._read_chunks()
        else:
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        return Received(method, target, headers, body, time.monotonic(), self._number)

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readuntil(b"\r\n")
        return bytes(body)

    async def _write(self, reply: Reply) -> bool:
        """Send a reply; True if the connection can carry another."""
        if not await self._wait(reply.delay):
            return False
        if reply.status is not None:
            self._writer.write(_head(reply))
        for at, piece in enumerate(reply.pieces):
            if at and not await self._wait(reply.pause):
                return False
            self._writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if reply.chunked else piece)
            await self._writer.drain()
        if reply.ending is Ending.HANG:
            await self._reader.read()  # until the client closes
        if reply.ending is Ending.KEEP and reply.chunked:
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return reply.ending is Ending.KEEP

    async def _wait(self, seconds: float) -> bool:
        """Wait; False, at once, if the client hangs up meanwhile."""
        if not seconds:
            return True
        until = asyncio.get_running_loop().time() + seconds
        while (left := until - asyncio.get_running_loop().time()) > 0:
            if self._reader.at_eof() or self._reader.exception() is not None:
                return False
            await asyncio.sleep(min(left, 0.02))
        return True


def _head(reply: Reply) -> bytes:
    assert reply.status is not None
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:  # such as 529, which some providers made up
        phrase = "Scripted"
    headers = dict(reply.headers)
    if reply.chunked:
        headers["Transfer-Encoding"] = "chunked"
    elif reply.content_length is None:
        headers["Content-Length"] = str(sum(map(len, reply.pieces)))
    elif reply.content_length:
        headers["Content-Length"] = str(reply.content_length)
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")

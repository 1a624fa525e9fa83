"""One request and its answer, over a connection of aiohttp's pool.

Of `aiohttp.ClientSession` a chat completion needs little: no cookies, redirects, middleware or
traces, and its time-out is `Deadlines`'. The rest of a session (a request and a response object
each time, headers merged and written anew, a task that sends the body) takes 60 % of the CPU of a
request: 142 us with it, 54 without, at 64 in flight. So the pool is asked for a connection here,
and the bytes are written to it. Connecting, TLS, proxies, the reuse of connections and reading
HTTP stay aiohttp's: `TCPConnector.connect` and the protocol of its connections, the same in all
versions of aiohttp 3.
"""

from __future__ import annotations

import asyncio
import base64
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp

from oumi_http.connection_faults import CONNECT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.client_proto import ResponseHandler
    from yarl import URL

__all__ = ["Exchange", "merged"]

_CONNECTING = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
_ALWAYS = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
"""What aiohttp's parser can take apart, zlib being everywhere."""

_AT_ONCE = 65_536
"""Bytes that asyncio asks a socket for at a time; left alone it asks for 262,144. So much memory is
mapped for each answer anew, cut to the few bytes that came, and unmapped: 17 of 43 us."""

_NONE: Mapping[str, str] = {}

_INTERIM = range(100, 200)
_SWITCHING = 101
"""The one status below 200 after which nothing else comes."""


def merged(*tables: Mapping[str, str] | None) -> dict[str, str]:
    """Tables of headers as one; the last to name a header wins, however it writes the name."""
    found: dict[str, tuple[str, str]] = {}
    for table in tables:
        found.update({name.lower(): (name, value) for name, value in (table or {}).items()})
    return dict(found.values())


class _Place(aiohttp.ClientRequest):
    """Tells the pool where to connect to; is never sent itself."""

    @cached_property
    def connection_key(self) -> aiohttp.client_reqrep.ConnectionKey:
        """What the pool knows its connections by; made once, since each time takes 2 us."""
        return super().connection_key


class Exchange:
    """Posts to one URL.

    Belongs to the event loop that it is made on.

    Args:
        connector: the pool; closed by whoever made it.
        url: where to.
        headers: sent with each request.
        proxy: the HTTP proxy on the way; None if there is none.
    """

    def __init__(
        self,
        connector: aiohttp.TCPConnector,
        url: URL,
        headers: Mapping[str, str],
        proxy: URL | None,
    ) -> None:
        self._connector = connector
        self._place = _Place("POST", url, proxy=proxy, loop=asyncio.get_running_loop())
        forwarded = proxy is not None and url.scheme == "http"  # else it goes through a tunnel
        self._target = str(url) if forwarded else url.raw_path_qs
        always = {"Host": url.host_port_subcomponent or "", **_ALWAYS}
        self._headers = merged(always, headers, _credentials(proxy) if forwarded else None)
        self._more: Mapping[str, str] = {}
        self._used: WeakSet[ResponseHandler] = WeakSet()
        self._head = _head(self._target, self._headers)

    async def post(
        self, body: bytes, headers: Mapping[str, str] | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a body; the status, the headers and the body of the answer.

        Args:
            body: JSON.
            headers: more of them, or others in place of those that are always sent.

        Raises:
            aiohttp.ClientError: no connection, or it broke.
            aiohttp.http_exceptions.HttpProcessingError: what came back is no HTTP.
            ValueError: a header holds a line break.
        """
        if (headers or _NONE) != self._more:  # a token stays the same for an hour: its head is kept
            self._head = _head(self._target, merged(self._headers, headers))
            self._more = dict(headers or _NONE)  # whoever gave it may change it
        connection = await self._connection()
        try:
            transport, protocol = connection.transport, connection.protocol
            if transport is None or protocol is None:  # closed as soon as it was open
                raise aiohttp.ServerDisconnectedError  # noqa: TRY301 - as if it were used
            if getattr(transport, "max_size", 0) > _AT_ONCE:  # uvloop and TLS have none
                transport.max_size = _AT_ONCE  # type: ignore[attr-defined] # as just seen
            protocol.set_response_params(read_until_eof=True)
            # In one write, and so in one packet: the body is copied, which takes 0.1 us.
            transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
            message, payload = await protocol.read()
            while message.code in _INTERIM and message.code != _SWITCHING:
                message, payload = await protocol.read()
            # Nearly all bodies come with their heads: not to wait for the end takes 2 us less.
            content = payload.read_nowait() if payload.is_eof() else await payload.read()
        except BaseException:
            connection.close()
            raise
        if transport.get_write_buffer_size():
            connection.close()  # it was answered before all was sent: the rest must go nowhere
        else:
            self._used.add(protocol)
            connection.release()
        return message.code, message.headers, content

    async def _connection(self) -> aiohttp.connector.Connection:
        """One to send a request over.

        The pool looks only whether a connection is open. On one that was used, a second answer may
        have come meanwhile, that nobody asked for: it would be taken for the answer to the next
        request, and that one's for the answer to the one after it. On a new one it is an answer: a
        server that is full says so without reading.
        """
        while True:
            try:
                connection = await self._connector.connect(self._place, [], _CONNECTING)
            except TimeoutError as error:
                raise aiohttp.ConnectionTimeoutError from error
            protocol = connection.protocol
            if protocol is None or not protocol.should_close or protocol not in self._used:
                return connection
            connection.close()


def _head(target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request, up to the value of `Content-Length`.

    Raises:
        ValueError: a header would end its line, and so begin another one.
    """
    for name, value in headers.items():
        if not (name + value).isprintable():
            raise ValueError(f"header {name!r}: holds a line break or another control character")
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\nContent-Length: ").encode()


def _credentials(proxy: URL | None) -> dict[str, str]:
    """The header by which a proxy that forwards knows its user."""
    if proxy is None or not (proxy.user or proxy.password):
        return {}
    pair = f"{proxy.user or ''}:{proxy.password or ''}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}

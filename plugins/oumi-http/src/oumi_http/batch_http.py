"""A server's files and batches by aiohttp, for servers whose maker has no SDK worth importing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import attrs
import msgspec
from yarl import URL

from oumi_http.answers import Answer
from oumi_http.connection_faults import CONNECT_SECONDS
from oumi_http.transport import StreamedAnswer, proxy_for, translated

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from typing import BinaryIO

    from oumi_http.urls import Endpoints

__all__ = ["BatchServer"]

_JSON = {"Content-Type": "application/json"}


@attrs.frozen
class BatchServer:
    """Where a server's files and batches are, and how it is reached.

    Attributes:
        endpoints: the server; its files and batches lie beside its chat completions.
        headers: gives those of each request, the key's among them; asked at each opening.
        seconds: the longest silence of the server in any request, 0 for any.
        tls: makes the context of connections over TLS; asked at each opening, in a thread.
    """

    endpoints: Endpoints
    headers: Callable[[], Awaitable[Mapping[str, str]]] = attrs.field(repr=False)
    seconds: float
    tls: Callable[[], ssl.SSLContext]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[_Connected]:
        """Connections for a block of calls; a `oumi_http.batch_api.BatchApi`.

        Raises:
            ConfigError: a certificate cannot be read, or the environment's proxy cannot be used.
        """
        given = await self.headers()
        headers = {k: v for k, v in given.items() if k.lower() != "content-type"}
        async with aiohttp.ClientSession(
            # In another thread: to read the system's authorities takes up to 0.1 s.
            connector=aiohttp.TCPConnector(ssl=await asyncio.to_thread(self.tls)),
            # Without a limit on the whole: files of 200 MB come and go as fast as the line is.
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=self.seconds or None
            ),
            proxy=proxy_for(self.endpoints.chat),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            yield _Connected(session, self.endpoints, headers, self.seconds)


@attrs.frozen
class _Connected:
    _session: aiohttp.ClientSession
    _endpoints: Endpoints
    # Not the session's own, since it shows those to a proxy: the key among them.
    _headers: Mapping[str, str] = attrs.field(repr=False)
    _seconds: float

    async def upload(self, file: BinaryIO, name: str) -> Answer:
        """See `BatchApi`."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", file, filename=name, content_type="application/jsonl")
        return await self._send("POST", "files", data=form)

    async def file(self, file_id: str) -> Answer:
        """See `BatchApi`."""
        return await self._send("GET", f"files/{_quoted(file_id)}")

    @asynccontextmanager
    async def content(self, file_id: str) -> AsyncIterator[StreamedAnswer]:
        """See `BatchApi`."""
        path = f"files/{_quoted(file_id)}/content"
        with translated(self._endpoints.server, self._seconds):
            response = await self._session.get(
                self._url(path), headers=self._headers, allow_redirects=False
            )
        async with response:
            head = Answer(response.status, response.headers, b"", self._endpoints.server)
            yield StreamedAnswer(head, self._pieces(response))

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        with translated(self._endpoints.server, self._seconds):
            async for piece in response.content.iter_any():
                yield piece

    async def create(self, fields: Mapping[str, Any]) -> Answer:
        """See `BatchApi`."""
        return await self._send("POST", "batches", more=_JSON, data=msgspec.json.encode(fields))

    async def batch(self, batch_id: str) -> Answer:
        """See `BatchApi`."""
        return await self._send("GET", f"batches/{_quoted(batch_id)}")

    async def cancel(self, batch_id: str) -> Answer:
        """See `BatchApi`."""
        return await self._send("POST", f"batches/{_quoted(batch_id)}/cancel")

    async def page(self, *, after: str | None, limit: int) -> Answer:
        """See `BatchApi`."""
        following = {} if after is None else {"after": after}
        return await self._send("GET", "batches", {"limit": str(limit), **following})

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
        data: bytes | aiohttp.FormData | None = None,
    ) -> Answer:
        server = self._endpoints.server
        with translated(server, self._seconds):
            async with self._session.request(
                method,
                self._url(path).extend_query(query or {}),
                data=data,
                headers={**self._headers, **(more or {})},
                allow_redirects=False,
            ) as response:
                return Answer(response.status, response.headers, await response.read(), server)

    def _url(self, name: str) -> URL:
        return URL(self._endpoints.beside(name), encoded=True)


def _quoted(name: str) -> str:
    return quote(name, safe="")

"""The way to a server by a client that the user brings: httpx's, or its continuation httpx2's.

For proxies, authentication and mocks that this package knows nothing of. It costs the client 6
(httpx2) to 16 times (httpx) the CPU of the pool that this package makes itself.
"""

from __future__ import annotations

import asyncio
import importlib
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from oumi_core.errors import ConfigError

from oumi_http.answers import Answer
from oumi_http.connection_faults import (
    CONNECT_SECONDS,
    QUIET_SECONDS,
    broken,
    no_connection,
    timed_out,
    went_quiet,
)
from oumi_http.transport import StreamedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from oumi_http.urls import Endpoints

__all__ = ["HttpxTransport"]


class HttpxTransport:
    """Sends with the user's client, which it never closes.

    The client's own headers, proxies, TLS and limits hold; the engine's headers are added, and
    its time-outs replace the client's.

    Args:
        client: an `httpx.AsyncClient` or `httpx2.AsyncClient`.
        endpoints: the server.
        headers: sent with each request.
        seconds: the most that one request may take, 0 for any time.

    Raises:
        ConfigError: the client is of neither library.
    """

    def __init__(
        self, client: Any, endpoints: Endpoints, headers: Mapping[str, str], *, seconds: float
    ) -> None:
        self._client = client
        self._endpoints = endpoints
        self._headers = dict(headers)
        self._seconds = seconds
        self._library = _library_of(client)
        self._timeout = self._library.Timeout(seconds or None, connect=CONNECT_SECONDS)
        self._quiet_timeout = self._library.Timeout(
            seconds or None, connect=CONNECT_SECONDS, read=QUIET_SECONDS
        )

    async def post(self, body: bytes, headers: Mapping[str, str] | None) -> Answer:
        """Send a body to the chat endpoint."""
        return await self._send("POST", self._endpoints.chat, headers, body)

    async def get_models(self, headers: Mapping[str, str] | None) -> Answer:
        """Ask for the list of models."""
        return await self._send("GET", self._endpoints.models, headers)

    async def close(self) -> None:
        """Nothing: the client is the user's."""

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None = None
    ) -> Answer:
        request = self._client.build_request(
            method,
            url,
            content=body,
            headers={**self._headers, **(headers or {})},
            timeout=self._timeout,
        )
        with self._translated():
            async with asyncio.timeout(self._seconds or None):
                response = await self._client.send(request, follow_redirects=False)
        return Answer(
            response.status_code, response.headers, response.content, self._endpoints.server
        )

    @asynccontextmanager
    async def stream(
        self, body: bytes, headers: Mapping[str, str] | None
    ) -> AsyncIterator[StreamedAnswer]:
        """Send a body to the chat endpoint and read the answer piece by piece."""
        request = self._client.build_request(
            "POST",
            self._endpoints.chat,
            content=body,
            headers={**self._headers, **(headers or {})},
            timeout=self._quiet_timeout,
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._seconds if self._seconds else None
        with self._translated():
            async with asyncio.timeout_at(deadline):
                response = await self._client.send(request, stream=True, follow_redirects=False)
        try:
            head = Answer(response.status_code, response.headers, b"", self._endpoints.server)
            yield StreamedAnswer(head, self._pieces(response, deadline))
        finally:
            await response.aclose()

    async def _pieces(self, response: Any, deadline: float | None) -> AsyncIterator[bytes]:
        pieces = response.aiter_bytes()
        while True:
            # Each wait has a scope of its own: none may be open where a generator hands over.
            with self._translated():
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn an exception of the library into ours. Its own text may quote the URL."""
        server, library = self._endpoints.server, self._library
        try:
            yield
        except library.ConnectTimeout as error:
            raise no_connection(server, f"none within {CONNECT_SECONDS:g} s") from error
        except library.ReadTimeout as error:
            if self._seconds and self._seconds <= QUIET_SECONDS:
                raise timed_out(server, self._seconds) from error
            raise went_quiet(server) from error
        except (TimeoutError, library.TimeoutException) as error:
            raise timed_out(server, self._seconds) from error
        except library.ConnectError as error:
            raise no_connection(server, "the client could not connect") from error
        except library.HTTPError as error:
            raise broken(server, f"{type(error).__name__} in the client") from error


def _library_of(client: Any) -> Any:
    for base in type(client).__mro__:
        root = base.__module__.partition(".")[0]
        if root in ("httpx", "httpx2") and base.__name__ == "AsyncClient":
            return importlib.import_module(root)
    raise ConfigError(
        "engine_args.http_client: must be an httpx.AsyncClient or httpx2.AsyncClient, "
        f"got {type(client).__name__}"
    )

"""The way to a server: one pool of connections, by aiohttp.

A transport sends bytes and gives back an `Answer`, or raises one `EngineError`. It knows neither
conversations nor retries.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import attrs
from aiohttp.http_exceptions import HttpProcessingError
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.failure import Failure, FailureKind
from yarl import URL

from oumi_http.answers import Answer
from oumi_http.connection_faults import (
    CONNECT_SECONDS,
    QUIET_SECONDS,
    broken,
    no_connection,
    timed_out,
    untrusted,
    went_quiet,
)
from oumi_http.deadlines import Deadlines
from oumi_http.exchange import Exchange, merged

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from oumi_http.urls import Endpoints

__all__ = ["AiohttpTransport", "StreamedAnswer", "Transport", "proxy_for", "translated"]

_KEEPALIVE_SECONDS = 30.0
"""How long an idle connection is kept: shorter than the minute after which load balancers drop
theirs, longer than the pauses of a run."""

_DNS_SECONDS = 300
"""How long an address is used again. Runs last hours; connections are made in bursts."""

_FAULTS = (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError)
"""What a request may end with in place of an answer; `_meaning` says what each is."""


@attrs.frozen
class StreamedAnswer:
    """An answer whose head is there and whose body is still coming.

    Attributes:
        head: status and headers; its body is empty unless the status is an error.
        pieces: the body as it comes; raises `EngineError` if it breaks off.
    """

    head: Answer
    pieces: AsyncIterator[bytes]


class Transport(Protocol):
    """What an engine needs of a connection to its server."""

    async def post(self, body: bytes, headers: Mapping[str, str] | None) -> Answer:
        """Send a body to the chat endpoint."""

    def stream(
        self, body: bytes, headers: Mapping[str, str] | None
    ) -> AbstractAsyncContextManager[StreamedAnswer]:
        """Send a body to the chat endpoint and read the answer piece by piece."""

    async def get_models(self, headers: Mapping[str, str] | None) -> Answer:
        """Ask for the list of models."""

    async def close(self) -> None:
        """Free the connections."""


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a URL; None if none, or if `no_proxy` excepts it.

    Raises:
        ConfigError: it is a proxy of another kind than HTTP.
    """
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.netloc):
        return None
    found = getproxies()
    proxy = found.get(parts.scheme) or found.get("all")
    if proxy is None:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigError(
            f"the proxy of the environment for {parts.scheme} is not an HTTP proxy; set NO_PROXY "
            "for this host, or pass a client that can use it as engine_args.http_client"
        )
    return proxy


class AiohttpTransport:
    """A pool of connections, as large as there are requests in flight.

    Must be made on the event loop that it is used on.

    Args:
        endpoints: the server.
        headers: sent with each request.
        seconds: the most that one request may take, 0 for any time.
        tls: the context of connections over TLS.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        headers: Mapping[str, str],
        *,
        seconds: float,
        tls: ssl.SSLContext,
    ) -> None:
        self._server = endpoints.server
        self._seconds = seconds
        self._chat = URL(endpoints.chat, encoded=True)
        self._models = URL(endpoints.models, encoded=True)
        self._deadlines = Deadlines(seconds)
        self._quiet_timeout = aiohttp.ClientTimeout(
            total=seconds, sock_connect=CONNECT_SECONDS, sock_read=QUIET_SECONDS
        )
        # Looked up once: `trust_env` would ask in another thread before each request, and
        # would send passwords out of ~/.netrc.
        proxy = proxy_for(endpoints.chat)
        connector = aiohttp.TCPConnector(
            # The run bounds what is in flight; a limit here would only make requests wait inside
            # their own time-out.
            limit=0,
            keepalive_timeout=_KEEPALIVE_SECONDS,
            ttl_dns_cache=_DNS_SECONDS,
            ssl=tls,
        )
        self._exchange = Exchange(connector, self._chat, headers, URL(proxy) if proxy else None)
        # For what is rare, or comes in pieces.
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            proxy=proxy,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # Not the session's own, since it shows those to a proxy: the key among them.
        self._headers = headers

    async def post(self, body: bytes, headers: Mapping[str, str] | None) -> Answer:
        """Send a body to the chat endpoint."""
        try:
            with self._deadlines.watch():
                status, found, content = await self._exchange.post(body, headers)
        except _FAULTS as error:
            raise self._translated(error) from _shown(error)
        return Answer(status, found, content, self._server)

    @asynccontextmanager
    async def stream(
        self, body: bytes, headers: Mapping[str, str] | None
    ) -> AsyncIterator[StreamedAnswer]:
        """Send a body to the chat endpoint and read the answer piece by piece."""
        try:
            response = await self._session.post(
                self._chat,
                data=body,
                headers=merged(self._headers, headers),
                allow_redirects=False,
                timeout=self._quiet_timeout,
            )
        except _FAULTS as error:
            raise self._translated(error) from _shown(error)
        async with response:
            head = Answer(response.status, response.headers, b"", self._server)
            yield StreamedAnswer(head, self._pieces(response))

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for piece in response.content.iter_any():
                yield piece
        except _FAULTS as error:
            raise self._translated(error) from _shown(error)

    async def get_models(self, headers: Mapping[str, str] | None) -> Answer:
        """Ask for the list of models."""
        try:
            with self._deadlines.watch():
                async with self._session.get(
                    self._models, headers=merged(self._headers, headers), allow_redirects=False
                ) as response:
                    content = await response.read()
        except _FAULTS as error:
            raise self._translated(error) from _shown(error)
        return Answer(response.status, response.headers, content, self._server)

    async def close(self) -> None:
        """Close all connections."""
        self._deadlines.close()
        await self._session.close()

    def _translated(self, error: Exception) -> EngineError:
        return _meaning(error, self._server, self._seconds)


@contextmanager
def translated(server: str, seconds: float) -> Iterator[None]:
    """Turn what aiohttp raises in the block into the error that says what it means.

    Args:
        server: what the error calls the server.
        seconds: the time that a request had, as a whole or between two signs of life.
    """
    try:
        yield
    except aiohttp.SocketTimeoutError as error:
        raise timed_out(server, seconds) from error
    except _FAULTS as error:
        raise _meaning(error, server, seconds) from _shown(error)


def _meaning(error: Exception, server: str, seconds: float) -> EngineError:
    """What an exception of aiohttp means. Its own text may quote the URL, so it is not shown."""
    match error:
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            meaning = _not_connected(error, server)
        case aiohttp.ClientHttpProxyError():
            meaning = _refused_by_proxy(server, error.status)
        case aiohttp.SocketTimeoutError():
            meaning = went_quiet(server)
        case TimeoutError():
            meaning = timed_out(server, seconds)
        case aiohttp.ClientConnectionError() | OSError():
            meaning = broken(server, "it was closed before the answer")
        case aiohttp.ClientPayloadError():
            meaning = broken(server, "it was closed inside the answer")
        case _:
            meaning = broken(server, f"no valid HTTP ({type(error).__name__})")
    return meaning


def _shown(error: Exception) -> Exception | None:
    """The exception as a cause, unless its text quotes what was sent or came: secrets, maybe."""
    quotes = isinstance(error, aiohttp.ClientResponseError | HttpProcessingError)
    return None if quotes else error


def _not_connected(
    error: aiohttp.ConnectionTimeoutError | aiohttp.ClientConnectorError, server: str
) -> EngineError:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return no_connection(server, f"none within {CONNECT_SECONDS:g} s")
        case aiohttp.ClientProxyConnectionError():
            return no_connection(server, "its proxy cannot be reached")
        case aiohttp.ClientConnectorCertificateError():
            return untrusted(server, _certificate_fault(error))
        case aiohttp.ClientSSLError():
            return untrusted(server, "the TLS handshake failed")
        case _:
            return no_connection(server, error.os_error.strerror or "")


def _certificate_fault(error: aiohttp.ClientConnectorCertificateError) -> str:
    inner = error.certificate_error
    return getattr(inner, "verify_message", "") or "its certificate is not valid"


def _refused_by_proxy(server: str, status: int) -> EngineError:
    kind = FailureKind.AUTH if status in (401, 403, 407) else FailureKind.TRANSIENT
    return EngineError(
        Failure(kind, f"the proxy before {server} refused with HTTP {status}", status=status)
    )

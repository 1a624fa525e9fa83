"""The official SDK, for everything but chat. It is imported on use: it costs 0.9 s."""

from __future__ import annotations

import asyncio
import importlib
import ssl
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError, EngineError
from oumi_http.answers import Answer, refusal
from oumi_http.connection_faults import broken, no_connection, timed_out, untrusted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from openai import AsyncOpenAI
    from oumi_http.urls import Endpoints

    from oumi_openai.account import Azure

__all__ = ["Administration"]

_SET_BY_SDK = frozenset({"authorization", "api-key", "content-type"})


@attrs.frozen
class Administration:
    """What the SDK's client is made from.

    Attributes:
        endpoints: the server.
        key: the key; the SDK puts it where it belongs.
        headers: those of a chat request, the organisation's and the project's among them.
        azure: the deployment, on Azure.
        seconds: the most that one request may take, 0 for any time.
        tls: makes the context of connections over TLS.
        own_client: the client that the user gave; None if there is none.
    """

    endpoints: Endpoints
    key: str | None = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    azure: Azure | None
    seconds: float
    tls: Callable[[], ssl.SSLContext]
    own_client: Any = None

    def check_client(self) -> None:
        """Refuse a client of the user's that is not one that the SDK can use.

        Raises:
            ConfigError: it is not.
        """
        if self.own_client is None:
            return
        import httpx2  # noqa: PLC0415 - import on use: comes with the SDK

        if not isinstance(self.own_client, httpx2.AsyncClient):
            raise ConfigError(
                "engine_args.http_client: the openai SDK, which does this, needs an "
                "httpx2.AsyncClient"
            )

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncOpenAI]:
        """A client of the SDK, closed at the end of the block; what it raises is an `EngineError`.

        Raises:
            ConfigError: the user's own client is not one that the SDK can use.
            EngineError: the server refuses, cannot be reached or does not answer in time.
        """
        self.check_client()
        # In another thread: it costs 0.9 s, in which rows may be under way.
        await asyncio.to_thread(importlib.import_module, "openai")
        import httpx2  # noqa: PLC0415 - import on use: comes with the SDK

        own = self.own_client
        # In another thread, too: to read the system's authorities takes up to 0.1 s.
        transport = own or httpx2.AsyncClient(verify=await asyncio.to_thread(self.tls))
        try:
            with self.translated():
                yield self._made(transport)
        finally:
            if own is None:
                await transport.aclose()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what the SDK raises in the block into the `EngineError` that says what it means."""
        import httpx2  # noqa: PLC0415 - import on use: comes with the SDK
        import openai  # noqa: PLC0415 - import on use: costs 0.9 s

        server = self.endpoints.server
        try:
            yield
        except openai.APIStatusError as error:
            raise EngineError(refusal(self.answer(error.response))) from error
        except (openai.APITimeoutError, httpx2.TimeoutException) as error:
            raise timed_out(server, self.seconds) from error
        except openai.APIConnectionError as error:
            raise _not_connected(error, server) from error
        except httpx2.HTTPError as error:  # in a body that is read piece by piece
            raise broken(server, f"{type(error).__name__} in the client") from error

    def answer(self, response: Any) -> Answer:
        """A response of the SDK as oumi-http reads it."""
        return Answer(
            response.status_code, response.headers, response.content, self.endpoints.server
        )

    def _made(self, transport: Any) -> AsyncOpenAI:
        from openai import AsyncAzureOpenAI, AsyncOpenAI  # noqa: PLC0415 - import on use

        common: dict[str, Any] = {
            "api_key": self.key,
            "max_retries": 0,  # retries are the run's
            "timeout": self.seconds or None,
            "http_client": transport,
            "default_headers": {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in _SET_BY_SDK
            },
        }
        base, _, query = self.endpoints.chat.partition("?")
        if self.azure is not None:
            return AsyncAzureOpenAI(
                # As read, with its scheme: the user may have left that out.
                azure_endpoint=base.partition("/openai/deployments/")[0],
                api_version=self.azure.api_version,
                **common,
            )
        pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
        return AsyncOpenAI(
            base_url=base.removesuffix("/chat/completions"), default_query=dict(pairs), **common
        )


def _not_connected(error: Exception, server: str) -> EngineError:
    """What stands behind the SDK's one error for all that goes wrong with a connection."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return untrusted(server, cause.verify_message)
        if isinstance(cause, OSError) and cause.strerror:
            return no_connection(server, cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return no_connection(server, "")

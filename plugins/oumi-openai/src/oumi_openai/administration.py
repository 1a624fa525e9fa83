"""The official SDK, for everything but chat. It is imported on use: it costs 0.9 s."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.failure import Failure, FailureKind
from oumi_http.answers import Answer, refusal

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Mapping

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

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncOpenAI]:
        """A client of the SDK, closed at the end of the block; what it raises is an `EngineError`.

        Raises:
            ConfigError: the user's own client is not one that the SDK can use.
            EngineError: the server refuses, cannot be reached or does not answer in time.
        """
        import httpx2  # noqa: PLC0415 - import on use: comes with the SDK
        import openai  # noqa: PLC0415 - import on use: costs 0.9 s

        own = self.own_client
        if own is not None and not isinstance(own, httpx2.AsyncClient):
            raise ConfigError(
                "engine_args.http_client: the openai SDK, which does this, needs an "
                "httpx2.AsyncClient"
            )
        transport = own or httpx2.AsyncClient(verify=self.tls())
        try:
            yield self._made(transport)
        except openai.APIStatusError as error:
            raise EngineError(refusal(self.answer(error.response))) from error
        except openai.APITimeoutError as error:
            raise EngineError(
                Failure(
                    FailureKind.TIMEOUT,
                    f"no answer of {self.endpoints.server} within {self.seconds:g} s",
                )
            ) from error
        except openai.APIConnectionError as error:
            raise EngineError(
                Failure(FailureKind.TRANSIENT, f"no connection to {self.endpoints.server}")
            ) from error
        finally:
            if own is None:
                await transport.aclose()

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

"""`ChatCompletionsEngine`: an engine for one provider of the chat-completions format."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from oumi_core.configs import RemoteParams
from oumi_core.engine import Capabilities, Engine
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.completion import Chunk
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import OPENAI, ChatEncoder, SSEParser, StreamAssembler, write_body

from oumi_http.answers import json_of, model_names, read_completion, with_request_id
from oumi_http.arguments import read_arguments
from oumi_http.hints import request_id
from oumi_http.httpx_transport import HttpxTransport
from oumi_http.images import names_files, with_images
from oumi_http.keys import auth_headers, find_key
from oumi_http.quirks import Quirks, read_quirks
from oumi_http.system_turns import without_system
from oumi_http.transport import AiohttpTransport, StreamedAnswer
from oumi_http.urls import Endpoints, endpoints

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from oumi_core.batching.backend import BatchBackend
    from oumi_core.configs import ModelParams
    from oumi_core.engine import EngineConfig, Request
    from oumi_core.guided.constraint import Constraint
    from oumi_core.types.completion import Completion
    from oumi_core.wire import Dialect

    from oumi_http.answers import Answer
    from oumi_http.arguments import FindFaults
    from oumi_http.transport import Transport

__all__ = ["CHAT_CAPABILITIES", "ChatCompletionsEngine"]

CHAT_CAPABILITIES = Capabilities(
    guided={"json"},
    generation={"max_new_tokens", "extra_body", *OPENAI.generation},
    streaming=True,
    tools=True,
    images=True,
    logprobs=True,
)
"""What a server that knows all of OpenAI's format can do."""

_OK = range(200, 300)

_END_SECONDS = 0.5
"""How long the end of a body may come after `[DONE]`."""


class ChatCompletionsEngine(Engine):
    """A server with the chat-completions API. A provider's engine subclasses it.

        class AcmeEngine(ChatCompletionsEngine):
            base_url = "https://api.acme.example/v1"
            api_key_env = "ACME_API_KEY"
            quirks = {"max_tokens_field": "max_tokens"}

    What the user says wins over a provider's row, and that over the class. One pool of connections
    is made by `start` and closed by `stop`. Each request is sent once: retries are the run's.

    Attributes:
        base_url: where the API is, in any form that `oumi_http.urls.endpoints` reads; None if the
            user must say.
        api_key_env: the environment variable that holds the key; None if the server takes none.
        api_key_required: whether `api_key_env` must be set if the user gives no other key.
        dialect: how the server writes the format.
        quirks: in what it differs, in the terms of `oumi_http.quirks.Quirks`.
        own_arguments: what `engine_args` may hold beside `oumi_http.arguments.Arguments`: names,
            and what finds the faults of a value. Those that are given are in `arguments.own`.
        params: how the server is to be reached; the defaults where the config does not say.
        arguments: `engine_args`, checked.
        key: the API key that is sent; None if there is none.
        endpoints: where this instance sends to.

    Raises:
        ConfigError: the URL, the key, a quirk or an argument is missing or cannot be.
    """

    remote: ClassVar[bool] = True
    capabilities: ClassVar[Capabilities] = CHAT_CAPABILITIES
    base_url: ClassVar[str | None] = None
    api_key_env: ClassVar[str | None] = None
    api_key_required: ClassVar[bool] = True
    dialect: ClassVar[Dialect] = OPENAI
    quirks: ClassVar[Mapping[str, Any]] = {}
    own_arguments: ClassVar[Mapping[str, FindFaults]] = {}

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.params = config.remote_params or RemoteParams()
        self.arguments = read_arguments(config.engine_args, self.own_arguments)
        self._quirks = self._read_quirks()
        self._encoder = ChatEncoder(self._quirks.applied_to(self.own_dialect()))
        self.endpoints = self._read_endpoints()
        self._transport: Transport | None = None
        self.key = find_key(
            self.params,
            os.environ,
            variable=config.provider.api_key_env if config.provider else self.api_key_env,
            required=self.api_key_required,
        )

    def own_dialect(self) -> Dialect:
        """How this instance writes the format: as its class, unless a subclass overrides it."""
        return self.dialect

    def _read_quirks(self) -> Quirks:
        provider = self.config.provider
        row = (
            read_quirks(provider.quirks, f"provider {provider.name}: quirks") if provider else None
        )
        self.arguments.read_quirks()
        given = {**self.quirks, **(provider.quirks if row and provider else {})}
        return read_quirks({**given, **self.arguments.quirks}, "quirks")

    def _read_endpoints(self) -> Endpoints:
        provider = self.config.provider
        chat_path = self._quirks.chat_path
        if self.params.api_url is not None:
            return endpoints(self.params.api_url, chat_path=chat_path)
        if provider is not None:
            where = f"provider {provider.name}: base_url"
            return endpoints(provider.base_url, chat_path=chat_path, where=where)
        if self.base_url is None:
            raise ConfigError(
                "remote_params.api_url: missing; give the URL of the server, such as "
                "http://localhost:8000/v1"
            )
        return endpoints(self.base_url, chat_path=chat_path, where="base_url")

    def headers(self) -> Mapping[str, str]:
        """The headers of every request, the key's among them. A subclass may add to them."""
        return {
            "Content-Type": "application/json",
            "User-Agent": "oumi-http",
            **self._quirks.headers,
            **self.arguments.headers,
            **auth_headers(self.key, self._quirks.api_key_header),
        }

    async def request_headers(self) -> Mapping[str, str] | None:
        """Headers that change, such as a token that expires; asked for before each request.

        A subclass overrides it; by default there are none.
        """
        return None

    def body(self, request: Request, *, stream: bool = False) -> dict[str, Any]:
        """The body that is sent for a request whose images are loaded. A subclass may change it.

        Raises:
            EngineError: the server cannot be asked for this; `bad_request`.
        """
        quirks = self._quirks
        if quirks.unsupported and (
            refused := sorted(request.generation.changed() & quirks.unsupported)
        ):
            raise EngineError.bad_request(f"this server does not take generation.{refused[0]}")
        if quirks.no_system:
            request = attrs.evolve(request, conversation=without_system(request.conversation))
        body = self._encoder.encode(request, stream=stream)
        if stream and not quirks.stream_usage:
            body.pop("stream_options", None)
        if self.params.user_id is not None:
            body.setdefault("user", self.params.user_id)
        if quirks.extra_body:
            body.update(quirks.extra_body)
            body.update(request.generation.extra_body)
        return body

    def whole_body(self, request: Request) -> dict[str, Any]:
        """The body that `complete` sends, with its images. Blocks while these are read.

        Raises:
            EngineError: an image cannot be read, or as `body`.
        """
        if names_files(request.conversation):
            request = self._loaded(request)
        return self.body(request)

    def as_asked(self, completion: Completion, constraint: Constraint | None) -> Completion:  # noqa: ARG002 - for subclasses
        """An answer in the form that was asked for, where `body` asks the server for another.

        `complete` gives it this way, and so do batches; who overrides it sees to `stream`, too. By
        default it is the answer as it came.
        """
        return completion

    def serves(self, model: ModelParams) -> bool:  # noqa: ARG002 - part of the contract
        """True: each request names its model."""
        return True

    async def check_constraint(self, constraint: Constraint) -> None:  # noqa: ARG002 - contract
        """Refuse any constraint where the server is known to ignore schemas.

        Raises:
            ConfigError: it is.
        """
        if not self._quirks.json_schema:
            raise ConfigError(
                f"generation.guided_decoding: {self.endpoints.server} does not hold a JSON schema "
                "(its quirk json_schema is false)"
            )

    async def start(self) -> None:
        """Make the pool; connects to nothing.

        Raises:
            ConfigError: a certificate cannot be read, or the environment's proxy cannot be used.
        """
        self._transport = self._transport_to(self.endpoints)

    def _transport_to(self, endpoints: Endpoints) -> Transport:
        seconds = self.params.connection_timeout
        client = self.arguments.http_client
        if client is not None:
            return HttpxTransport(client, endpoints, self.headers(), seconds=seconds)
        tls = self.arguments.tls()
        return AiohttpTransport(endpoints, self.headers(), seconds=seconds, tls=tls)

    async def stop(self) -> None:
        """Close all connections."""
        if self._transport is not None:
            await self._transport.close()
            self._transport = None

    async def complete(self, request: Request) -> Completion:
        """Answer one request; see `Engine.complete`."""
        if names_files(request.conversation):
            request = await self._with_images(request)
        body = self._encoded(request, stream=False)
        answer = await self._connected().post(body, await self.request_headers())
        return self.as_asked(read_completion(answer), request.constraint)

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        """Answer one request in pieces; a stream that breaks off is an error."""
        if names_files(request.conversation):
            request = await self._with_images(request)
        body = self._encoded(request, stream=True)
        async with self._connected().stream(body, await self.request_headers()) as answer:
            head = answer.head
            if head.status not in _OK or not _is_stream(head.headers):
                # An error, or a server that does not stream: the body is one answer.
                completion = read_completion(head._replace(body=await _whole(answer)))
                message = completion.message
                yield Chunk(message.text, message.reasoning_content or "")
                yield completion
                return
            found = request_id(head.headers)
            try:
                async for piece in _assembled(answer, found):
                    yield piece
            except EngineError as error:
                raise with_request_id(error, found) from None

    async def list_models(self) -> list[str]:
        """The names of the models that the server lists, sorted.

        Raises:
            EngineError: it does not answer, or not with a list.
        """
        names = model_names(await self.describe_models())
        if names is None:
            raise EngineError(
                Failure(
                    FailureKind.NOT_FOUND,
                    f"{self.endpoints.server} lists no models; give model.model_name",
                )
            )
        return names

    async def describe_models(self) -> Any:
        """The server's list of models as it sends it, decoded.

        Raises:
            EngineError: it does not answer, or not with JSON.
        """
        return json_of(await self._connected().get_models(await self.request_headers()))

    async def post(self, name: str, fields: Mapping[str, Any]) -> Answer:
        """Ask another part of the API than chat, such as `load_lora_adapter`.

        For administration: it opens a connection of its own, and closes it.

        Args:
            name: what stands in the place of `chat/completions`.
            fields: the body.

        Raises:
            EngineError: there is no answer. One that refuses is an answer: see
                `oumi_http.answers.refusal`.
        """
        url = self.endpoints.beside(name)
        transport = self._transport_to(attrs.evolve(self.endpoints, chat=url))
        try:
            return await transport.post(write_body(fields), await self.request_headers())
        finally:
            await transport.close()

    def batch_backend(self) -> BatchBackend | None:
        """Batches by the server's own API, where the quirk `batches` says that it has one.

        Raises:
            ConfigError: the user's own client is to be used, which this cannot do.
        """
        if not self._quirks.batches:
            return None
        from oumi_http.batch_backend import ChatBatches  # noqa: PLC0415 - import on use
        from oumi_http.batch_http import BatchServer  # noqa: PLC0415 - import on use

        if self.arguments.http_client is not None:
            raise ConfigError(
                "engine_args.http_client: batches go over connections of the engine's own, so "
                "leave it out for them"
            )
        # Connections are opened for each look at a batch; the certificates are read for the first.
        tls = functools.cache(self.arguments.tls)
        seconds = self.params.connection_timeout
        server = BatchServer(self.endpoints, self._all_headers, seconds, tls)
        return ChatBatches(self, server.open)

    async def _all_headers(self) -> Mapping[str, str]:
        return {**self.headers(), **(await self.request_headers() or {})}

    async def _with_images(self, request: Request) -> Request:
        return await asyncio.to_thread(self._loaded, request)

    def _loaded(self, request: Request) -> Request:
        allowed = self.arguments.allowed_media_path
        loaded = with_images(request.conversation, allowed)
        return attrs.evolve(request, conversation=loaded)

    def _encoded(self, request: Request, *, stream: bool) -> bytes:
        return write_body(self.body(request, stream=stream))

    def _connected(self) -> Transport:
        if self._transport is None:
            raise ConfigError("the engine is not started; await start() first")
        return self._transport


async def _assembled(
    answer: StreamedAnswer, found: str | None
) -> AsyncIterator[Chunk | Completion]:
    parser, assembler = SSEParser(), StreamAssembler()
    async for received in answer.pieces:
        for event in parser.feed(received):
            chunk = assembler.feed_event(event)
            if chunk is not None:
                yield chunk
        if assembler.done:
            await _ended(answer)
            break
    yield assembler.finish(request_id=found)


async def _ended(answer: StreamedAnswer) -> None:
    """Read to the end of the body, so that its connection can be used again.

    The answer is whole already: a server that never ends it, or breaks off, only costs that.
    """
    with contextlib.suppress(TimeoutError, EngineError):
        async with asyncio.timeout(_END_SECONDS):
            async for _ in answer.pieces:
                pass


async def _whole(answer: StreamedAnswer) -> bytes:
    return b"".join([piece async for piece in answer.pieces])


def _is_stream(headers: Mapping[str, str]) -> bool:
    # By what it is not: streams come under several types, whole answers under these.
    content_type = headers.get("content-type", "").lower()
    return "json" not in content_type and "html" not in content_type

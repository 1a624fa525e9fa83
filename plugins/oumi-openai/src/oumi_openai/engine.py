"""The engine `openai`: OpenAI, and Azure OpenAI."""

from __future__ import annotations

import functools
import os
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.completion import Chunk
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import OPENAI
from oumi_http.answers import json_of, model_names
from oumi_http.engine import CHAT_CAPABILITIES, ChatCompletionsEngine

from oumi_openai.account import OWN_ARGUMENTS, read_account
from oumi_openai.administration import Administration
from oumi_openai.constraints import write
from oumi_openai.reasoning import unsent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from oumi_core.batching.backend import BatchBackend
    from oumi_core.configs import ModelParams
    from oumi_core.engine import Capabilities, EngineConfig, Request
    from oumi_core.guided.constraint import Constraint
    from oumi_core.types.completion import Completion
    from oumi_core.wire import Dialect
    from oumi_http.arguments import FindFaults
    from oumi_http.batch_api import BatchApi

    from oumi_openai.constraints import Written

__all__ = ["OpenAIEngine"]


def _written_by_the_engine(constraint: Constraint) -> dict[str, Any]:  # noqa: ARG001 - dialect's
    return {}


class OpenAIEngine(ChatCompletionsEngine):
    """OpenAI, and Azure OpenAI where `engine_args.azure` or the URL says so.

    Constraints are held by the API's strict mode: see `oumi_openai.strict_schema` for what becomes
    of a schema. A streamed answer that needs a way back from its strict form comes in one piece.
    What a reasoning model does not take is not sent: see `oumi_openai.reasoning`; each such
    parameter that was set is warned of, once for each model.

    Raises:
        ConfigError: the key, an argument, or something that Azure needs is missing or cannot be.
    """

    capabilities: ClassVar[Capabilities] = attrs.evolve(
        CHAT_CAPABILITIES, guided={"json", "regex", "choice"}
    )
    base_url: ClassVar[str | None] = "https://api.openai.com/v1"
    api_key_env: ClassVar[str | None] = "OPENAI_API_KEY"
    dialect: ClassVar[Dialect] = attrs.evolve(OPENAI, constraint=_written_by_the_engine)
    own_arguments: ClassVar[Mapping[str, FindFaults]] = OWN_ARGUMENTS

    def __init__(self, config: EngineConfig) -> None:
        self._account = read_account(config, os.environ)
        super().__init__(self._account.applied_to(config))
        # Core tells engines apart by the config that it gave.
        self.config = config
        self._last: tuple[Constraint, Written] | None = None
        self._warned: set[str] = set()

    def headers(self) -> Mapping[str, str]:
        """The headers of every request, the organisation's and the project's among them."""
        return {
            **self._account.headers(),
            **super().headers(),
        }

    def serves(self, model: ModelParams) -> bool:
        """True at OpenAI; on Azure the URL names the deployment, so that each needs an engine."""
        return self._account.azure is None or model == self.config.model

    def body(self, request: Request, *, stream: bool = False) -> dict[str, Any]:
        """The body that is sent: with a strict schema, without what the model does not take.

        Raises:
            EngineError: OpenAI cannot hold the constraint; `bad_request`.
        """
        body = super().body(request, stream=stream)
        self._leave_out(body, request)
        if request.constraint is not None:
            try:
                fields = self._written(request.constraint).fields
            except ConfigError as error:
                raise EngineError.bad_request(str(error)) from error
            for name, value in fields.items():
                body.setdefault(name, value)  # `extra_body` wins
        return body

    def _leave_out(self, body: dict[str, Any], request: Request) -> None:
        generation, model = request.generation, request.model.model_name
        refused = unsent(self._account.base_model or model)
        if not refused:
            return
        left_out = set()
        for field in refused:
            name = OPENAI.generation[field]
            # 1 is the one temperature that these models have.
            is_taken = field == "temperature" and generation.temperature == 1
            if name in body and name not in generation.extra_body and not is_taken:
                del body[name]
                left_out.add(field)
        set_ones = sorted(left_out & generation.changed())
        if set_ones and model not in self._warned:
            self._warned.add(model)
            names = ", ".join(f"generation.{field}" for field in set_ones)
            warnings.warn(
                f"{names}: the reasoning model {model!r} does not take it, so it is not sent "
                "(generation.extra_body sends it all the same)",
                UserWarning,
                stacklevel=2,
            )

    async def check_constraint(self, constraint: Constraint) -> None:
        """Refuse a constraint that has no strict form.

        Raises:
            ConfigError: it has none; names the keyword that is in the way and where it stands.
        """
        await super().check_constraint(constraint)
        self._written(constraint)

    def as_asked(self, completion: Completion, constraint: Constraint | None) -> Completion:
        """An answer to a strict schema as the user asked for it."""
        return completion if constraint is None else self._written(constraint).narrowed(completion)

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        """Answer one request in pieces; in one where its strict form needs a way back."""
        pieces = super().stream(request)
        if request.constraint is None:
            async for piece in pieces:
                yield piece
            return
        async for piece in self._narrowed_pieces(pieces, request.constraint):
            yield piece

    async def _narrowed_pieces(
        self, pieces: AsyncIterator[Chunk | Completion], constraint: Constraint
    ) -> AsyncIterator[Chunk | Completion]:
        async for piece in pieces:
            # Looked up here: the first piece comes only after the constraint was found possible.
            written = self._written(constraint)
            if written.back is None:
                yield piece
            elif isinstance(piece, Chunk):
                if piece.reasoning:
                    yield Chunk(reasoning=piece.reasoning)
            else:
                narrowed = written.narrowed(piece)
                if narrowed.text:
                    yield Chunk(narrowed.text)
                yield narrowed

    async def list_models(self) -> list[str]:
        """The names of the models that the key may use, sorted; asked for through the SDK.

        Raises:
            EngineError: the server does not answer, or not with a list.
        """
        administration = self.administration()
        async with administration.client() as client:
            response = await client.models.with_raw_response.list()
            answer = administration.answer(response.http_response)
        names = model_names(json_of(answer))
        if names is None:
            raise EngineError(
                Failure(FailureKind.NOT_FOUND, f"{self.endpoints.server} lists no models")
            )
        return names

    def batch_backend(self) -> BatchBackend:
        """OpenAI's and Azure's batches, by the official SDK.

        Raises:
            ConfigError: the user's own client is not one that the SDK can use.
        """
        from oumi_http.batch_backend import ChatBatches  # noqa: PLC0415 - import on use

        from oumi_openai.batches import open_batches  # noqa: PLC0415 - import on use

        administration = self.administration()
        administration.check_client()
        # Connections are opened for each look at a batch; the certificates are read for the first.
        administration = attrs.evolve(administration, tls=functools.cache(administration.tls))

        def open_api() -> AbstractAsyncContextManager[BatchApi]:
            return open_batches(administration)

        azure = self._account.azure
        if azure is None:
            return ChatBatches(self, open_api)
        # Azure's lines name the deployment, and no version of the API.
        return ChatBatches(self, open_api, endpoint="/chat/completions", model=azure.deployment)

    def administration(self) -> Administration:
        """The official SDK with this engine's server, key, account and connection settings."""
        return Administration(
            self.endpoints,
            self.key,
            self.headers(),
            self._account.azure,
            self.params.connection_timeout,
            self.arguments.tls,
            self.arguments.http_client,
        )

    def _written(self, constraint: Constraint) -> Written:
        # By identity: the rows of a run share their constraint.
        if self._last is None or self._last[0] is not constraint:
            self._last = (constraint, write(constraint))
        return self._last[1]

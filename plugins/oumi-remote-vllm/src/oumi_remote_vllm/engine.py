"""The engine `remote-vllm`: a vLLM server."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from oumi_core.configs import GenerationParams
from oumi_core.engine import Request
from oumi_core.errors import ConfigError, EngineError
from oumi_core.guided.constraint import JsonSchema
from oumi_core.guided.vllm_schemas import ignored_parts
from oumi_core.types.completion import Chunk, Completion, FinishReason
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import OPENAI
from oumi_http.engine import CHAT_CAPABILITIES, ChatCompletionsEngine

from oumi_remote_vllm.adapters import adapter_name, adapter_place, load_adapter, unload_adapter
from oumi_remote_vllm.arguments import OWN_ARGUMENTS
from oumi_remote_vllm.constraints import canary, structured_outputs, tag_fields
from oumi_remote_vllm.proof import prove_live, prove_taken
from oumi_remote_vllm.served import served_adapter, served_model, served_models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from oumi_core.configs import ModelParams
    from oumi_core.engine import Capabilities, EngineConfig
    from oumi_core.guided.constraint import Constraint
    from oumi_core.wire import Dialect
    from oumi_http.arguments import FindFaults

    from oumi_remote_vllm.served import Served

__all__ = ["RemoteVLLMEngine"]

_OWN_FIELDS = {
    name: name
    for name in ("min_p", "repetition_penalty", "skip_special_tokens", "stop_token_ids", "top_k")
}
_GUIDED = "generation.guided_decoding"
_HELLO = Conversation([Message(Role.USER, "Hello!")])
_NO_LIST = (404, 405, 501)
_UNKNOWN_LENGTH = 2**31
_REMEMBERED = 64
"""Constraints that need no second proof."""

_MAX_BLANKS = 1
"""White space between two parts of JSON: as in `{"a": 1, "b": 2}`."""
_BLANKS = 20
"""White space at the end of an answer that was cut: no layout of JSON has so much."""


class RemoteVLLMEngine(ChatCompletionsEngine):
    """A vLLM server, at `remote_params.api_url`.

    At the start it asks the server what it serves, so that a server that is not up and a model that
    it does not have are said before the first row; and before the first row with a constraint it
    has the server prove that it holds it.

    `model.adapter_model` is the name of an adapter that the server serves, or where it was loaded
    from; one that it does not serve is loaded, where the server allows that.

    Attributes:
        served_name: what requests call the model, or its adapter.

    Raises:
        ConfigError: the URL or an argument is missing or cannot be.
    """

    capabilities: ClassVar[Capabilities] = attrs.evolve(
        CHAT_CAPABILITIES,
        guided={"json", "regex", "choice", "grammar"},
        generation=CHAT_CAPABILITIES.generation | _OWN_FIELDS.keys(),
        lora=True,
    )
    api_key_env: ClassVar[str | None] = "VLLM_API_KEY"
    api_key_required: ClassVar[bool] = False
    dialect: ClassVar[Dialect] = attrs.evolve(
        OPENAI,
        generation={**OPENAI.generation, **_OWN_FIELDS},
        model={"chat_template_kwargs": "chat_template_kwargs"},
        reasoning="reasoning_content",
    )
    own_arguments: ClassVar[Mapping[str, FindFaults]] = OWN_ARGUMENTS

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self.served_name = config.model.adapter_model or config.model.model_name
        self._max_blanks: int | None = self.arguments.own.get("max_json_blanks", _MAX_BLANKS)
        tag = self.arguments.own.get("structural_tag")
        self._tag = None if tag is None else tag_fields(tag)
        self._max_tokens = _UNKNOWN_LENGTH
        self._loaded_adapter: str | None = None
        self._live: set[tuple[str, str]] = set()
        self._held: deque[Constraint] = deque(maxlen=_REMEMBERED)

    def own_dialect(self) -> Dialect:
        """The class's, with constraints in vLLM's words."""
        return attrs.evolve(
            self.dialect, constraint=lambda one: structured_outputs(one, self._max_blanks)
        )

    def serves(self, model: ModelParams) -> bool:
        """True for its own model: what the server has of another is asked by another engine."""
        return model == self.config.model

    def body(self, request: Request, *, stream: bool = False) -> dict[str, Any]:
        """The body that is sent, with the name that the server knows the model or adapter by.

        Raises:
            EngineError: nothing fits the constraint, or `extra_body` holds a field that vLLM no
                longer knows; `bad_request`.
        """
        body = super().body(request, stream=stream)
        for name in body:
            if name.startswith("guided_"):
                raise EngineError.bad_request(
                    f"extra_body.{name}: vLLM ignores it since 0.12; use {_GUIDED}, or "
                    "structured_outputs in its place"
                )
        if "model" not in request.generation.extra_body:
            body["model"] = self.served_name
        if "priority" in self.arguments.own:
            body.setdefault("priority", self.arguments.own["priority"])
        if self._tag is not None and request.constraint is None:
            body.setdefault("structured_outputs", self._tag)
        return body

    async def start(self) -> None:
        """Make the pool, and ask the server what it serves.

        Raises:
            ConfigError: it does not serve the model or adapter, and cannot load it; or it does not
                hold `engine_args.structural_tag`.
            EngineError: it does not answer.
        """
        await super().start()
        if self.arguments.own.get("check_server", True):
            await self._settle_names()
        if self._tag is not None:
            await self._prove("structural_tag", self._tag, "engine_args.structural_tag")

    async def stop(self) -> None:
        """Close all connections; unload what `start` loaded, if `engine_args` asks for that.

        Raises:
            EngineError: the server does not unload it.
        """
        try:
            if self._loaded_adapter is not None and self.arguments.own.get("unload_adapter", False):
                await unload_adapter(self.post, self._loaded_adapter, self.endpoints.server)
                self._loaded_adapter = None
        finally:
            await super().stop()

    async def _settle_names(self) -> None:
        listed = await self._listed()
        if listed is None:
            return  # a gateway without that path: the first row will tell
        model, server = self.config.model, self.endpoints.server
        # In a thread: whether a name is a folder is asked of the disk.
        base = await asyncio.to_thread(served_model, listed, model.model_name, server)
        self.served_name = base.name
        self._max_tokens = base.max_tokens or _UNKNOWN_LENGTH
        if model.adapter_model is None:
            return
        found = await asyncio.to_thread(served_adapter, listed, base, model.adapter_model, server)
        if found is None:
            place = await asyncio.to_thread(adapter_place, model.adapter_model)
            self.served_name = adapter_name(place)
            await load_adapter(self.post, place, self.served_name, server)
            self._loaded_adapter = self.served_name
        else:
            self.served_name = found.name

    async def _listed(self) -> list[Served] | None:
        try:
            return served_models(await self.describe_models())
        except EngineError as error:
            failure = error.failure
            if failure.status in _NO_LIST:
                return None
            if failure.kind not in (FailureKind.TRANSIENT, FailureKind.TIMEOUT):
                raise
            what = (
                f"{failure.message}; is the vLLM server up? It answers once its model is loaded. "
                "Its address is remote_params.api_url"
            )
            raise EngineError(attrs.evolve(failure, message=what)) from error

    async def check_constraint(self, constraint: Constraint) -> None:
        """Have the server prove that it holds a constraint.

        Raises:
            ConfigError: it does not, or a part of a JSON Schema is one that vLLM ignores.
            EngineError: it does not answer.
        """
        await super().check_constraint(constraint)
        if constraint in self._held:
            return
        where = f"{_GUIDED}.{constraint.kind}"
        if isinstance(constraint, JsonSchema) and (parts := ignored_parts(constraint.schema)):
            raise ConfigError(
                f"{where}: vLLM would ignore {', '.join(parts)}; change the schema, or choose "
                f"{_GUIDED}.backend: reask"
            )
        try:
            await self._prove_constraint(constraint, where)
        except ConfigError:
            bound = isinstance(constraint, JsonSchema) and self._max_blanks is not None
            if not bound or "max_json_blanks" in self.arguments.own:
                raise
            # A server that knows no such bound, or has another backend, may hold the schema itself.
            self._max_blanks = None
            await self._prove_constraint(constraint, where)
        self._held.append(constraint)

    async def _prove_constraint(self, constraint: Constraint, where: str) -> None:
        try:
            fields = structured_outputs(constraint, self._max_blanks)
        except EngineError as error:
            raise ConfigError(error.failure.message) from error
        await self._prove(constraint.kind, fields["structured_outputs"], where)

    async def _prove(self, kind: str, fields: dict[str, Any], where: str) -> None:
        server = self.endpoints.server
        form = next(iter(fields))
        if (kind, form) not in self._live:
            bait = canary(kind, secrets.token_hex(4), None if form == "json" else self._max_blanks)
            most = self._max_tokens // 2
            await prove_live(self._ask, bait, kind, where=where, server=server, max_tokens=most)
            self._live.add((kind, form))
        await prove_taken(self._ask, fields, kind, where=where, server=server)

    async def _ask(self, fields: dict[str, Any], tokens: int) -> Completion:
        generation = GenerationParams(
            max_new_tokens=tokens, extra_body={"structured_outputs": fields}
        )
        return await self.complete(Request(_HELLO, self.config.model, generation))

    def as_asked(self, completion: Completion, constraint: Constraint | None) -> Completion:
        """The answer, unless it is JSON that was cut inside white space.

        Raises:
            EngineError: it is; `truncated`, and no larger budget would help.
        """
        if (
            completion.finish_reason is FinishReason.LENGTH
            and isinstance(constraint, JsonSchema)
            and len(completion.text) >= _BLANKS
            and completion.text[-_BLANKS:].isspace()
        ):
            raise EngineError(
                Failure(
                    FailureKind.TRUNCATED,
                    "the model filled its budget with white space, which a JSON Schema leaves "
                    "free; start the server with --structured-outputs-config "
                    '\'{"backend": "xgrammar", "disable_any_whitespace": true}\', or set '
                    "engine_args.max_json_blanks: 1 if it takes that",
                    request_id=completion.request_id,
                )
            )
        return completion

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        """Answer one request in pieces; a stream that breaks off is an error."""
        async for piece in super().stream(request):
            yield piece if isinstance(piece, Chunk) else self.as_asked(piece, request.constraint)

"""What an engine's author writes: a class with one required method.

An engine turns one `Request` into one `Completion`. It knows nothing of runs, retries, files or
other engines: workers, limits, retries, resuming, progress, batches, checks of constraints and
the command line all come from core.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from oumi_core.errors import EngineError
from oumi_core.types.completion import Chunk, Completion
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from oumi_core.batching.backend import BatchBackend
    from oumi_core.configs import GenerationParams, ModelParams, RemoteParams
    from oumi_core.guided.constraint import Constraint
    from oumi_core.providers import Provider
    from oumi_core.types.conversation import Conversation

__all__ = ["BASIC_PARAMS", "CONTRACTS", "Capabilities", "Engine", "EngineConfig", "Request"]

CONTRACTS = range(1, 2)
"""The contract numbers that this version of core serves."""

BASIC_PARAMS = frozenset({"max_new_tokens", "temperature", "top_p", "seed", "stop_strings"})
"""The generation parameters that nearly every engine honours."""


def _names(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


@attrs.frozen
class Capabilities:
    """What an engine can do. Core refuses, or says once, what is asked for beyond it.

    Attributes:
        guided: the kinds of constraint that it *enforces*: of `json`, `regex`, `choice`, `grammar`.
        generation: the fields of `GenerationParams` that it honours. One that is set to other than
            its default and is not here is reported (`on_unsupported`), never dropped in silence.
        streaming: `stream` gives pieces as they come, not the whole answer at the end.
        tools: it takes tool definitions and answers with tool calls.
        images: it takes images.
        lora: it honours `model.adapter_model`.
        logprobs: it fills `Completion.logprobs`.
    """

    guided: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    generation: frozenset[str] = attrs.field(default=BASIC_PARAMS, converter=_names)
    streaming: bool = False
    tools: bool = False
    images: bool = False
    lora: bool = False
    logprobs: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The capabilities as JSON-ready data, sets as sorted lists."""
        return {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name, value in attrs.asdict(self).items()
        }


@attrs.frozen
class EngineConfig:
    """What an engine is made from.

    Attributes:
        model: the model to serve.
        remote_params: where and how to reach a server; None if the config has no such section.
        engine_args: handed as it is to the library under the engine; the engine checks the names.
        provider: the row of a `providers.toml` that named this engine; None otherwise.
    """

    model: ModelParams
    remote_params: RemoteParams | None = None
    engine_args: Mapping[str, Any] = attrs.field(factory=dict)
    provider: Provider | None = None


@attrs.frozen
class Request:
    """All that is sent for one row, and nothing else.

    Attributes:
        conversation: the messages, with `tools` where there are any.
        model: the effective model, with its adapter and revision.
        generation: the effective parameters.
        constraint: what the answer must fit; None if it is free.
        row_id: names the row in logs and at the provider; not part of the prompt.
    """

    conversation: Conversation
    model: ModelParams
    generation: GenerationParams
    constraint: Constraint | None = None
    row_id: str = ""


class Engine(ABC):
    """The base of every engine. Only `complete` must be written.

    All coroutines run on one event loop in one thread: a blocking call in them stops every row,
    so hand it to `asyncio.to_thread`. Making an engine loads nothing; `start` does.

    Attributes:
        contract: the version of this contract that the class was written for. A class that does
            not state it was written for 1, the first.
        capabilities: what the engine can do; read without making an instance.
        remote: True if a server answers: the run then finds out how much it bears.
    """

    contract: ClassVar[int] = 1
    capabilities: ClassVar[Capabilities] = Capabilities()
    remote: ClassVar[bool] = False

    def __init__(self, config: EngineConfig) -> None:
        self.config = config

    @property
    def num_workers(self) -> int:
        """How many requests to keep in flight where the user does not say: 32."""
        return 32

    async def start(self) -> None:  # noqa: B027 - optional
        """Load the weights or open the pool. Called once, before the first request.

        Raises:
            ConfigError: the model, adapter or an argument is wrong.
            EngineError: the engine cannot be brought up.
        """

    async def stop(self) -> None:  # noqa: B027 - optional
        """Free everything that `start` took. Called once, after the last request."""

    @abstractmethod
    async def complete(self, request: Request) -> Completion:
        """Answer one request.

        Is cancelled when nobody waits for the answer any more; must then free what it holds.

        Raises:
            EngineError: there is no answer; its `failure` says why.
        """

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        """Answer one request in pieces: any number of `Chunk`, then the whole `Completion`.

        The default gives the answer of `complete` as one piece.

        Raises:
            EngineError: as `complete`; also in the middle, if the stream breaks off.
        """
        completion = await self.complete(request)
        message = completion.message
        yield Chunk(text=message.text, reasoning=message.reasoning_content or "")
        yield completion

    def serves(self, model: ModelParams) -> bool:
        """True if this instance can answer requests for `model`, which may differ from its own.

        An engine that names the model in each request overrides it. Where it is False, core makes
        another instance for that model.
        """
        return model == self.config.model

    async def check_constraint(self, constraint: Constraint) -> None:  # noqa: B027 - optional
        """Refuse a constraint that this engine cannot hold, before the first row is sent.

        Called once a run, after `start`, with a constraint of a kind that `capabilities.guided`
        names. An engine overrides it to look closer (a keyword of the schema that its library
        ignores), or to prove with a probe that a server holds the constraint. The default accepts.

        Raises:
            ConfigError: it cannot be held; the message names the part that is in the way.
        """

    def limit_scope(self, model: ModelParams) -> tuple[str | None, ...]:
        """What shares a server's limits: requests of equal scopes are counted together.

        By default the engine's class, its provider, URL and key, and the model. Only a hash of it
        is kept.
        """
        remote, provider = self.config.remote_params, self.config.provider
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            None if provider is None else provider.name,
            None if remote is None else remote.api_url,
            None if remote is None else remote.api_key or remote.api_key_env_varname,
            model.model_name,
        )

    async def list_models(self) -> list[str]:
        """The names of the models that it can be asked for, sorted; its own by default."""
        return [self.config.model.model_name]

    def batch_backend(self) -> BatchBackend | None:
        """What carries batches to the provider's own batch API; None, the default, without one.

        Asked of an engine that need not be started. The backend is used between `start` and
        `stop` only.
        """
        return None

    def classify(self, error: Exception) -> Failure:
        """Say what an exception out of `complete` or `stream` means.

        The default knows `EngineError` and time-outs, and calls anything else `internal`.
        The message names the type of an unknown exception and where it came from but not its
        text, which may quote a key or a prompt.
        """
        if isinstance(error, EngineError):
            return error.failure
        if isinstance(error, TimeoutError | asyncio.TimeoutError):
            return Failure(FailureKind.TIMEOUT, "no answer in the time allowed")
        return Failure(FailureKind.INTERNAL, f"the engine raised {_origin(error)}")


def _origin(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    return f"{type(error).__name__} at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"

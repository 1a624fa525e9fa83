"""The engine: a request in, an answer of llama.cpp out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import msgspec
import xllamacpp
from oumi_core.engine import Capabilities, Engine
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import OPENAI, ChatEncoder, StreamAssembler

from oumi_llamacpp.adapters import find_adapter
from oumi_llamacpp.arguments import read_arguments
from oumi_llamacpp.constraints import grammar_of, probe_of, refusal_of
from oumi_llamacpp.failures import raise_if_error
from oumi_llamacpp.slots import Call, Slots
from oumi_llamacpp.weights import find_model

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oumi_core.configs import ModelParams
    from oumi_core.engine import EngineConfig, Request
    from oumi_core.guided.constraint import Constraint
    from oumi_core.types.completion import Chunk, Completion

    from oumi_llamacpp.arguments import Arguments
    from oumi_llamacpp.constraints import Probe
    from oumi_llamacpp.gguf_header import GGUFHeader

__all__ = ["LlamaCppEngine"]

_GENERATION = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "repetition_penalty": "repeat_penalty",
    "stop_strings": "stop",
    "logit_bias": "logit_bias",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
    "seed": "seed",
}
# llama.cpp's own default of min_p is 0.05 and Oumi's is 0, so it is always sent.
_LEFT_OUT = {k: v for k, v in OPENAI.left_out.items() if k != "min_p"}

_DEFAULT_CONTEXT = 4096
"""Tokens of a request where the user does not say: Oumi's `n_ctx`. The memory for the context of
all slots is taken at the start, so it is not the model's own limit, which may be millions.
"""

_SMALL_MODEL = 64 * 2**20
"""Bytes. A smaller model computes with one thread: two take twice the CPU of 2 cores for the same
throughput, and stall for seconds at their barriers when another process wants a core.
"""

_SEEDS = 2**32 - 1
"""llama.cpp takes seeds of 32 bits, and the last of them to mean a random one."""

_decode = msgspec.json.Decoder().decode


def _constraint_fields(constraint: Constraint) -> dict[str, Any]:
    try:
        grammar = grammar_of(constraint)
    except ConfigError as error:
        raise EngineError.bad_request(str(error)) from error
    # Without this, the start of an answer that looks like reasoning would be cut out of it.
    return {"grammar": grammar, "reasoning_format": "none"}


_DIALECT = attrs.evolve(
    OPENAI,
    token_limit="max_tokens",  # noqa: S106 - the name of a field
    generation=_GENERATION,
    left_out=_LEFT_OUT,
    model={"chat_template_kwargs": "chat_template_kwargs"},
    constraint=_constraint_fields,
)


class LlamaCppEngine(Engine):
    """GGUF models in this process, with as many requests in flight as there are slots.

    Stopping early (a cancelled `complete`, a `stream` that is abandoned) ends the generation at
    the next token, or at the next batch of a prompt that is still being read.
    """

    contract: ClassVar[int] = 1
    capabilities: ClassVar[Capabilities] = Capabilities(
        guided={"json", "regex", "choice", "grammar"},
        generation={*_GENERATION, "max_new_tokens", "extra_body"},
        streaming=True,
        lora=True,
        logprobs=True,
    )

    def __init__(self, config: EngineConfig) -> None:
        """Check the arguments; nothing is loaded.

        Raises:
            ConfigError: an argument in `model.model_kwargs` or `engine_args` is wrong.
        """
        super().__init__(config)
        self._arguments: Arguments = read_arguments(config)
        self._encoder = ChatEncoder(_DIALECT)
        self._slots: Slots | None = None
        self._adapters: tuple[str, ...] = ()
        self._held: set[str] = set()
        self._last_held: Constraint | None = None

    @property
    def num_workers(self) -> int:
        """As many as there are slots: 8, or `engine_args.n_parallel`."""
        return self._arguments.slots

    async def start(self) -> None:
        """Find, check and load the model and its adapters.

        Raises:
            ConfigError: the model or an adapter is missing, damaged, or does not fit.
            EngineError: llama.cpp cannot load it.
        """
        self._slots = await asyncio.to_thread(self._load)

    def _load(self) -> Slots:
        model, arguments = self.config.model, self._arguments
        header = find_model(model)
        wanted = (model.adapter_model, *arguments.adapters)
        names = tuple(dict.fromkeys(name for name in wanted if name is not None))
        paths = [str(find_adapter(name, header)) for name in names]
        params = arguments.params
        params.model.path = str(header.path)
        params.model_alias = {model.model_name}
        params.n_ctx = _context(arguments.context, header) * arguments.slots
        if arguments.threads is None and header.path.stat().st_size < _SMALL_MODEL:
            params.cpuparams.n_threads = 1
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in paths]
        try:
            slots = Slots(params)
        except RuntimeError as error:
            raise EngineError(_load_failure(header)) from error
        self._adapters = names
        return slots

    async def stop(self) -> None:
        """Give up what is under way and free the model."""
        slots, self._slots = self._slots, None
        if slots is not None:
            await asyncio.to_thread(slots.close)

    def serves(self, model: ModelParams) -> bool:
        """True for its model, with or without one of its adapters."""
        plain = attrs.evolve(self.config.model, adapter_model=None)
        return attrs.evolve(model, adapter_model=None) == plain and (
            model.adapter_model in (None, self.config.model.adapter_model)
            or model.adapter_model in self._arguments.adapters
        )

    async def check_constraint(self, constraint: Constraint) -> None:
        """Prove with a probe of a few tokens that llama.cpp holds the constraint.

        Raises:
            ConfigError: it does not; the message names what is in the way.
        """
        if constraint is self._last_held:  # the rows of a run share it, and a grammar may be long
            return
        probe = probe_of(constraint)
        if probe.grammar not in self._held:
            await self._prove(constraint, probe)
            self._held.add(probe.grammar)
        self._last_held = constraint

    async def _prove(self, constraint: Constraint, probe: Probe) -> None:
        body = {
            "messages": [{"role": "user", "content": "?"}],
            "max_tokens": probe.tokens,
            "temperature": 0,
            "grammar": probe.grammar,
            "reasoning_format": "none",
        }
        try:
            completion = await self._answer(body)
        except EngineError as error:
            if error.failure.kind is FailureKind.BAD_REQUEST:
                raise refusal_of(constraint) from error
            raise
        if not completion.text.startswith(probe.expected):
            raise refusal_of(constraint)

    async def complete(self, request: Request) -> Completion:
        """Answer one request; see `Engine.complete`."""
        return await self._answer(await self._body(request))

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        """Answer one request in pieces, each as llama.cpp has it; see `Engine.stream`."""
        body = await self._body(request)
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        call = Call(lambda chunk: loop.call_soon_threadsafe(queue.put_nowait, chunk))
        running = asyncio.ensure_future(self._running().run(_streamed(body), call))
        running.add_done_callback(lambda _: queue.put_nowait(None))  # after the last chunk
        assembler = StreamAssembler()
        try:
            while (data := await queue.get()) is not None:
                chunk = _decode(data)
                raise_if_error(chunk)
                piece = assembler.feed(chunk)
                if piece is not None:
                    yield piece
            await running
        finally:
            call.given_up = True
            running.cancel()
            await asyncio.wait([running])
        yield assembler.finish()

    async def _answer(self, body: dict[str, Any]) -> Completion:
        # Streamed, because only a stream can be stopped; the pieces are joined at the end.
        chunks: list[bytes] = []
        await self._running().run(_streamed(body), Call(chunks.append))
        assembler = StreamAssembler()
        for data in chunks:
            chunk = _decode(data)
            raise_if_error(chunk)
            assembler.feed(chunk)
        return assembler.finish()

    def _running(self) -> Slots:
        if self._slots is None:
            raise EngineError(Failure(FailureKind.ENGINE_DEAD, "the engine is not started"))
        return self._slots

    async def _body(self, request: Request) -> dict[str, Any]:
        if request.constraint is not None:
            try:
                await self.check_constraint(request.constraint)
            except ConfigError as error:
                raise EngineError.bad_request(str(error)) from error
        body = self._encoder.encode(request)
        if "seed" in body:
            body["seed"] %= _SEEDS
        if self._adapters:
            wanted = request.model.adapter_model
            body["lora"] = [
                {"id": at, "scale": 1.0 if name == wanted else 0.0}
                for at, name in enumerate(self._adapters)
            ]
        return body


def _streamed(body: dict[str, Any]) -> dict[str, Any]:
    # Word of the prompt's progress is a chance to stop between its batches.
    return {
        **body,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }


def _context(wanted: int | None, header: GGUFHeader) -> int:
    """Tokens of a request; never more than the model was trained for."""
    trained = header.number("context_length")
    context = wanted or _DEFAULT_CONTEXT
    return context if trained is None else min(context, trained)


def _load_failure(header: GGUFHeader) -> Failure:
    return Failure(
        FailureKind.ENGINE_DEAD,
        f"llama.cpp cannot load {header.path} (architecture {header.architecture!r}); it may not "
        "know the architecture, or lack the memory: model.model_kwargs.verbose: true shows its "
        "log, a smaller model.model_max_length or engine_args.n_parallel takes less memory",
    )

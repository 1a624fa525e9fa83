"""The engine: a request in, an answer of vLLM out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from oumi_core.configs import GenerationParams
from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.errors import ConfigError, EngineError
from oumi_core.guided.constraint import JsonSchema
from oumi_core.guided.vllm_schemas import ignored_parts
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.types.failure import Failure, FailureKind

from oumi_vllm import library
from oumi_vllm.adapters import find_adapter
from oumi_vllm.arguments import read_arguments
from oumi_vllm.asking import Asking
from oumi_vllm.core import Core, Job
from oumi_vllm.loading import load
from oumi_vllm.loras import Loras
from oumi_vllm.prompts import Prompts
from oumi_vllm.sampling import GENERATION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oumi_core.configs import ModelParams
    from oumi_core.engine import EngineConfig
    from oumi_core.guided.constraint import Constraint
    from oumi_core.types.completion import Chunk, Completion

__all__ = ["VLLMEngine"]

_PER_REQUEST = ("adapter_model", "chat_template", "chat_template_kwargs", "tool_call_parser")
"""What of `ModelParams` each request says for itself: it needs no other weights."""

_WORKERS = 256
"""The size of vLLM's batch on most machines (`max_num_seqs`); on large GPUs it is 1,024."""


class VLLMEngine(Engine):
    """vLLM in this process, with many requests in flight and each answer as it ends.

    The model runs in processes of vLLM's own, which end with the engine, and with this process
    however that ends.
    """

    contract: ClassVar[int] = 1
    capabilities: ClassVar[Capabilities] = Capabilities(
        guided={"json", "regex", "choice", "grammar"},
        generation=GENERATION,
        streaming=True,
        tools=True,
        images=True,
        lora=True,
        logprobs=True,
    )

    def __init__(self, config: EngineConfig) -> None:
        """Read the arguments; nothing is imported or loaded.

        Raises:
            ConfigError: an argument is given twice, or in the wrong place.
        """
        super().__init__(config)
        self._arguments = read_arguments(config)
        self._core: Core | None = None
        self._loras = Loras()
        self._adding = asyncio.Lock()
        self._asking = Asking(Prompts(self._arguments.images))
        self._held: Constraint | None = None
        self._batch_size: int | None = None

    @property
    def num_workers(self) -> int:
        """As many as vLLM puts into one batch (`max_num_seqs`), at least 256.

        Known once it is loaded; before, it is what the config says.
        """
        most = self._batch_size or self._arguments.fields.get("max_num_seqs")
        return max(_WORKERS, most) if isinstance(most, int) else _WORKERS

    async def start(self) -> None:
        """Load vLLM, the model and its adapters.

        Raises:
            PluginError: there is no vLLM that works.
            ConfigError: the model, an adapter or an argument is wrong.
            EngineError: vLLM cannot be brought up.
        """
        await asyncio.to_thread(library.import_vllm)  # if it is not waited for, nothing is loaded
        self._core = core = Core(self._load)
        await core.start()

    def _load(self) -> Any:
        name = self._arguments.fields.get("reasoning_parser")
        self._asking.reasoning = library.reasoning_parser(name) if name else None
        adapters = [find_adapter(name) for name in self._arguments.adapters]
        self._loras = Loras()
        llm = load(self._arguments, adapters)
        self._batch_size = library.batch_size(llm)
        if self._takes_adapters():
            self._loras.hold_plain(llm, adapters)
        for adapter in adapters:
            self._loras.add(llm, adapter)
        return llm

    async def stop(self) -> None:
        """Give up what is under way and end vLLM's processes."""
        core, self._core = self._core, None
        if core is not None:
            await core.close()
            self._loras.forget()

    def serves(self, model: ModelParams) -> bool:
        """True for its model, with any adapter if it was loaded with LoRA, while it lives."""
        if self._core is not None and self._core.dead is not None:
            return False  # core then makes another
        own = {name: getattr(self.config.model, name) for name in _PER_REQUEST}
        return attrs.evolve(model, **own) == self.config.model and (
            model.adapter_model is None or self._takes_adapters()
        )

    def _takes_adapters(self) -> bool:
        return bool(self._arguments.adapters or self._arguments.fields.get("enable_lora"))

    async def check_constraint(self, constraint: Constraint) -> None:
        """Have vLLM compile the constraint, and generate one token under it.

        Raises:
            ConfigError: it cannot be held, with vLLM's reason.
        """
        if constraint is self._held:
            return
        where = f"generation.guided_decoding.{constraint.kind}"
        if isinstance(constraint, JsonSchema) and (parts := ignored_parts(constraint.schema)):
            raise ConfigError(
                f"{where}: vLLM would ignore {', '.join(parts)}; change the schema, or choose "
                "generation.guided_decoding.backend: reask"
            )
        model = attrs.evolve(self.config.model, adapter_model=None)
        probe = Conversation([Message(Role.USER, "?")])
        request = Request(probe, model, GenerationParams(max_new_tokens=1), constraint)
        try:
            await self.complete(request)
        except EngineError as error:
            if error.failure.stops_run:
                raise
            raise ConfigError(
                f"{where}: {error.failure.message} "
                "(engine_args.structured_outputs_config.backend names another backend, such as "
                "guidance or auto)"
            ) from error
        self._held = constraint

    async def complete(self, request: Request) -> Completion:
        """Answer one request; see `Engine.complete`."""
        core = self._running()
        asked = self._asking.ask(request, await self._lora(request.model.adapter_model))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def deliver(outcome: Any) -> None:
            if not future.done():
                future.set_result(outcome)

        job = Job(asked.prepare, deliver)
        core.submit(job)
        try:
            return asked.completion(await future)
        except asyncio.CancelledError:
            core.give_up(job)
            raise

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        """Answer one request in pieces, each as vLLM has it; see `Engine.stream`."""
        core = self._running()
        lora = await self._lora(request.model.adapter_model)
        asked = self._asking.ask(request, lora, pieces=True)
        outputs: asyncio.Queue[Any] = asyncio.Queue()
        job = Job(asked.prepare, outputs.put_nowait)
        core.submit(job)
        finished = False
        try:
            while not finished:
                output = await outputs.get()
                piece = asked.piece(output)
                finished = output.finished
                if piece.text or piece.reasoning:
                    yield piece
        finally:
            if not finished:
                core.give_up(job)
        yield asked.completion(output)

    async def _lora(self, name: str | None) -> Any:
        """The `LoRARequest` of an adapter, which is loaded if it is not.

        Raises:
            EngineError: it cannot be had; `not_found`.
        """
        if name is None:
            return self._loras.plain
        known = self._loras.get(name)
        if known is not None:
            return known
        async with self._adding:
            try:
                adapter = await asyncio.to_thread(find_adapter, name)
                return await self._running().call(lambda llm: self._loras.add(llm, adapter))
            except ConfigError as error:
                raise EngineError(Failure(FailureKind.NOT_FOUND, str(error))) from error

    def _running(self) -> Core:
        core = self._core
        if core is None:
            raise EngineError(Failure(FailureKind.ENGINE_DEAD, "the engine is not started"))
        if core.dead is not None:
            raise core.dead
        return core

"""What users hold: an engine chosen by name, with its run around it.

    with get_engine("llamacpp", model="demo") as engine:
        print(engine.infer([conversation])[0][-1].text)

Every blocking method has an awaitable twin (`infer`, `ainfer`). The blocking ones hand over to one
private loop thread, so they work in scripts, in notebooks and from several threads at once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, Self

from oumi_core.batch_calls import BatchCalls
from oumi_core.configs import GenerationParams, InferenceConfig, ModelParams, RemoteParams
from oumi_core.configs.fields import with_fields
from oumi_core.engine import Engine
from oumi_core.engines_in_use import EnginesInUse
from oumi_core.errors import ConfigError, InferenceFailed
from oumi_core.loop import run_async, run_blocking
from oumi_core.plugin_info import Found
from oumi_core.registry import ENGINE, default_registry, find
from oumi_core.run.paths import settle_paths
from oumi_core.run.plan import make_plan
from oumi_core.run.resume import Output
from oumi_core.run.run import Run
from oumi_core.run.source import Source
from oumi_core.text_stream import TextStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.result import Result

__all__ = [
    "EchoInferenceEngine",
    "InferenceEngine",
    "LlamaCppInferenceEngine",
    "OpenAIInferenceEngine",
    "RemoteInferenceEngine",
    "RemoteVLLMInferenceEngine",
    "VLLMInferenceEngine",
    "get_engine",
]


class InferenceEngine(BatchCalls):
    """An engine by name, with the config that its calls start from.

    Making one loads nothing: the plugin is found, and weights and pools come with the first use or
    `start`. `close` (or `with`) frees them; without it they are freed at exit.

    A config that is passed to a call is laid over the engine's own, section by section.
    """

    def __init__(self, engine: str | type[Engine], config: InferenceConfig) -> None:
        """Find the plugin.

        Args:
            engine: its name, in any case, with `-` or `_`; or `distribution:name`; or the class
                itself, which then needs no plugin around it.
            config: what calls start from.

        Raises:
            PluginError: there is no such engine, or its plugin cannot be loaded.
        """
        if isinstance(engine, str):
            self._found = find(ENGINE, engine)
        elif isinstance(engine, type) and issubclass(engine, Engine):  # type: ignore[redundant-expr]  # of untyped callers
            self._found = Found(engine, engine.__name__, distribution="", version="")
        else:
            raise ConfigError(f"{engine!r} is no engine: give a name or a subclass of Engine")
        self._engines = EnginesInUse(self, self._found.cls)
        self.config = config

    @property
    def name(self) -> str:
        """The engine's name, as it is listed."""
        return self._found.name

    # What users call.

    def infer(
        self,
        input: Sequence[Conversation] | None = None,  # noqa: A002 - Oumi's name for it
        inference_config: InferenceConfig | None = None,
    ) -> list[Conversation]:
        """Answer conversations, and wait for all of them.

        Args:
            input: the conversations; None to read the config's `input_path`.
            inference_config: laid over the engine's own config for this call. With an
                `output_path` in it, the answers are written there too.

        Returns:
            The conversations in input order, each with its reply appended. The ones given are
            not changed. `metadata` holds `finish_reason` and, where known, `usage`.

        Raises:
            InferenceFailed: some rows failed. All rows were tried, the good ones were saved, and
                `.results` holds all.
            RunStopped: no further row could be answered; `.results` holds the finished ones.
            ConfigError, DataError, PluginError: nothing was sent.
        """
        run = self.run(input, inference_config=inference_config)
        return run_blocking(_collect(run))

    async def ainfer(
        self,
        input: Sequence[Conversation] | None = None,  # noqa: A002 - Oumi's name for it
        inference_config: InferenceConfig | None = None,
    ) -> list[Conversation]:
        """The awaitable twin of `infer`."""
        run = self.run(input, inference_config=inference_config)
        return await run_async(_collect(run))

    def run(
        self,
        input: Iterable[Conversation]  # noqa: A002 - Oumi's name for it
        | AsyncIterable[Conversation]
        | str
        | os.PathLike[str]
        | None = None,
        *,
        output_path: str | os.PathLike[str] | None = None,
        inference_config: InferenceConfig | None = None,
        fresh: bool = False,
        retry_failed: bool = False,
    ) -> Run:
        """Answer any number of conversations, handing out each result as it finishes.

        Memory grows with the workers, not with the rows.

        Args:
            input: conversations, from anything that can be iterated over, or the path of a JSONL
                file of them; None for the config's `input_path`. A file is checked as a whole
                before the first row is sent; a pipe is read as it comes.
            output_path: the JSONL file for the answers, in input order; None for the config's.
                A journal beside it keeps every answer from the moment it is there: the same call
                again goes on where the last one stopped, and sends nothing that was answered.
                A symbolic link is followed; what is no regular file is refused.
            inference_config: laid over the engine's own config for this call.
            fresh: forget the answers of earlier runs to this output.
            retry_failed: try again also rows whose failure says that a retry is no use.

        Raises:
            ConfigError, PluginError: as for `infer`; a row's failure is never raised.
        """
        config = self._effective(inference_config)
        plan = make_plan(config, self._found)
        source = Source.of(config.input_path if input is None else input)
        wanted = config.output_path if output_path is None else os.fspath(output_path)
        target, progress = settle_paths(source.path, wanted, config.progress_path)
        if target is None:
            return Run(plan, self._using, source, progress_path=progress)
        output = Output(target, self.name, fresh=fresh, retry_failed=retry_failed)
        return Run(plan, self._using, source, output, progress)

    arun = run
    """`run` under the name of the awaitable twins: iterate with `async for`."""

    def stream(
        self, conversation: Conversation, inference_config: InferenceConfig | None = None
    ) -> TextStream:
        """Answer one conversation in pieces of text.

        The iterator's `completion` and `result` are there when it has ended. Closing it stops
        the generation.

        Raises:
            ConfigError, PluginError: at once. EngineError: by the iterator, where there is no
                answer, or where it breaks off.
        """
        plan = make_plan(self._effective(inference_config), self._found)
        return TextStream(plan, self._using, conversation)

    astream = stream
    """`stream` under the name of the awaitable twins: iterate with `async for`."""

    def list_models(self) -> list[str]:
        """The names of the models that can be asked for, sorted."""
        return run_blocking(self._list_models())

    async def alist_models(self) -> list[str]:
        """The awaitable twin of `list_models`."""
        return await run_async(self._list_models())

    async def _list_models(self) -> list[str]:
        async with self._using(make_plan(self.config, self._found)) as engine:
            return await engine.list_models()

    def _using(self, plan: Plan) -> AbstractAsyncContextManager[Engine]:
        """An engine to use; a run holds this method, and so this object, until it has ended."""
        return self._engines.using(plan)

    # Its life.

    def start(self) -> None:
        """Load the weights or open the pool now, not with the first row.

        Raises:
            ConfigError, EngineError: it cannot be brought up.
        """
        run_blocking(self._engines.start(make_plan(self.config, self._found)))

    def close(self) -> None:
        """Free the model or the pool. Any number of times; no call may follow but this one."""
        run_blocking(self._engines.close())

    async def aclose(self) -> None:
        """The awaitable twin of `close`."""
        await run_async(self._engines.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        model = self.config.model.model_name if self.config.model else None
        return f"InferenceEngine({self.name!r}, model={model!r})"

    def _effective(self, config: InferenceConfig | None) -> InferenceConfig:
        return self.config if config is None else config.over(self.config)


async def _collect(run: Run) -> list[Conversation]:
    results: list[Result] = []
    await run.execute(results.append)
    results.sort(key=lambda result: result.index)
    stopped = run.stopped()
    if stopped is not None:
        stopped.results = tuple(results)
        raise stopped
    if not all(result.ok for result in results):
        raise InferenceFailed(results)
    return [result.conversation for result in results]


def get_engine(
    name: str | type[Engine] | None = None,
    config: InferenceConfig | None = None,
    **fields: Any,
) -> InferenceEngine:
    """An engine by name.

    Args:
        name: the engine's name; an engine class; or None for the config's `engine`.
        config: the config that its calls start from.
        fields: fields of any params class by name, laid over the config: `model` (the model's
            name), `temperature=0.7`, `api_url=...`, `num_workers=64`.

    Raises:
        PluginError: there is no such engine, or its plugin cannot be loaded.
        ConfigError: no engine is named, or a field is unknown or out of range.
    """
    config = with_fields(config or InferenceConfig(), fields)
    chosen = name if name is not None else config.engine
    if chosen is None:
        raise default_registry().unnamed(ENGINE)
    return InferenceEngine(chosen, config)


class _NamedEngine(InferenceEngine):
    """Binds `InferenceEngine` to a name, with the arguments of Oumi's classes."""

    engine_name: ClassVar[str]

    def __init__(
        self,
        model_params: ModelParams,
        *,
        generation_params: GenerationParams | None = None,
        remote_params: RemoteParams | None = None,
        **engine_args: Any,
    ) -> None:
        config = InferenceConfig(
            model=model_params,
            generation=generation_params,
            remote_params=remote_params,
            engine_args=engine_args,
        )
        super().__init__(self.engine_name, config)


class EchoInferenceEngine(_NamedEngine):
    """The engine `echo`: answers with the last user message."""

    engine_name = "echo"


class LlamaCppInferenceEngine(_NamedEngine):
    """The engine `llamacpp`: GGUF models in this process, on any CPU."""

    engine_name = "llamacpp"


class OpenAIInferenceEngine(_NamedEngine):
    """The engine `openai`: OpenAI and Azure."""

    engine_name = "openai"


class RemoteInferenceEngine(_NamedEngine):
    """The engine `remote`: any server that speaks chat completions."""

    engine_name = "remote"


class RemoteVLLMInferenceEngine(_NamedEngine):
    """The engine `remote-vllm`: a vLLM server."""

    engine_name = "remote-vllm"


class VLLMInferenceEngine(_NamedEngine):
    """The engine `vllm`: vLLM in this process."""

    engine_name = "vllm"

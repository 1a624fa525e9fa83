"""Turns `model.model_kwargs` and `engine_args` into llama.cpp's own parameters."""

from __future__ import annotations

import difflib
import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import xllamacpp
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from oumi_core.engine import EngineConfig

__all__ = ["DEFAULT_SLOTS", "Arguments", "read_arguments"]

DEFAULT_SLOTS = 8
"""Requests in flight at once.

Measured on 2 cores with the demo model: 4, 8, 16 and 32 slots answer 400, 500, 480 and 330
requests a second. More slots also mean more memory for the context.
"""

_PROMPT_CACHE_MIB = 512
"""The most memory for prompts of earlier requests. llama.cpp's own 8192 would grow over a run by
8 GB; without any, the demo model answers a fifth slower.
"""

_QUIET = -1
_VERBOSE = 4

_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "model": "model.model_name",
        "n_ctx": "model.model_max_length, which is per request",
        "n_gpu_layers": "model.model_kwargs.n_gpu_layers",
        "chat_template": "model.chat_template",
        "n_predict": "generation.max_new_tokens",
        "sampling": "generation",
        "verbosity": "model.model_kwargs.verbose",
    }
)
"""Fields of llama.cpp that have a place in the config -> the place."""

_OURS = frozenset(
    {
        "api_keys",
        "embedding",
        "hostnames",
        "model_alias",
        "n_threads_http",
        "port",
        "reuse_port",
        "ui",
    }
)
"""Fields of llama.cpp that this engine sets, or that would break it."""


@attrs.frozen
class Arguments:
    """What the user set about llama.cpp, checked.

    Attributes:
        params: llama.cpp's parameters, without a model, adapters or the size of the context.
        slots: requests in flight at once.
        context: tokens of a request, prompt and answer; None if the user does not say.
        threads: threads of computation; None if the user does not say.
        adapters: adapters to have ready beside `model.adapter_model`.
        verbose: show llama.cpp's log.
    """

    params: Any
    slots: int
    context: int | None
    threads: int | None
    adapters: tuple[str, ...]
    verbose: bool


def read_arguments(config: EngineConfig) -> Arguments:
    """Check all arguments; nothing is loaded.

    Raises:
        ConfigError: lists every name that is unknown and every value of a wrong type.
    """
    params = xllamacpp.CommonParams()
    params.n_parallel = DEFAULT_SLOTS
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    faults: list[str] = []
    own = _read_model_kwargs(params, config.model.model_kwargs, faults)
    adapters = _read_engine_args(params, config.engine_args, faults)
    if config.model.chat_template not in (None, "auto"):
        params.chat_template = config.model.chat_template
    if faults:
        raise ConfigError(*faults)
    params.verbosity = _VERBOSE if own.get("verbose") else _QUIET
    return Arguments(
        params=params,
        slots=params.n_parallel,
        context=config.model.model_max_length or own.get("n_ctx"),
        threads=own.get("n_threads"),
        adapters=adapters,
        verbose=bool(own.get("verbose")),
    )


def _read_model_kwargs(
    params: Any, given: Mapping[str, Any], faults: list[str]
) -> Mapping[str, Any]:
    where = "model.model_kwargs"
    for name, value in given.items():
        expected = _MODEL_KWARGS.get(name)
        if expected is None:
            faults.append(f"{where}.{name}: unknown{_nearest(name, _MODEL_KWARGS)}")
            continue
        kind, put = expected
        fault = _type_fault(kind, value)
        if fault is None and name in _AT_LEAST_ONE and value < 1:
            fault = f"must be at least 1, is {value}"
        if fault is None and put is not None:
            fault = _attempt(put, params, value)
        if fault:
            faults.append(f"{where}.{name}: {fault}")
    if not faults and (given.get("use_mmap") is not None or given.get("use_mlock") is not None):
        params.load_mode = _load_mode(
            mmap=given.get("use_mmap", True), mlock=given.get("use_mlock", False)
        )
    return given


def _field(name: str) -> Callable[[Any, Any], None]:
    return lambda params, value: setattr(params, name, value)


def _set_threads(params: Any, value: int) -> None:
    params.cpuparams.n_threads = value


def _set_batch_threads(params: Any, value: int) -> None:
    params.cpuparams_batch.n_threads = value


def _set_flash_attention(params: Any, value: bool) -> None:
    kinds = xllamacpp.llama_flash_attn_type
    on, off = kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED, kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.flash_attn_type = on if value else off


def _load_mode(*, mmap: bool, mlock: bool) -> Any:
    word = {(True, True): "MMAP_MLOCK", (True, False): "MMAP", (False, True): "MLOCK"}
    name = word.get((mmap, mlock), "NONE")
    return getattr(xllamacpp.llama_load_mode, f"LLAMA_LOAD_MODE_{name}")


_MODEL_KWARGS: Mapping[str, tuple[type, Callable[[Any, Any], None] | None]] = MappingProxyType(
    {
        "filename": (str, None),
        "verbose": (bool, None),
        "n_ctx": (int, None),
        "n_gpu_layers": (int, _field("n_gpu_layers")),
        "main_gpu": (int, _field("main_gpu")),
        "n_threads": (int, _set_threads),
        "n_threads_batch": (int, _set_batch_threads),
        "n_batch": (int, _field("n_batch")),
        "n_ubatch": (int, _field("n_ubatch")),
        "flash_attn": (bool, _set_flash_attention),
        "use_mmap": (bool, None),
        "use_mlock": (bool, None),
    }
)
"""Oumi's names -> the type, and how llama.cpp is told; None where it is read elsewhere."""

_AT_LEAST_ONE = frozenset({"n_ctx", "n_threads", "n_threads_batch", "n_batch", "n_ubatch"})


def _read_engine_args(params: Any, given: Mapping[str, Any], faults: list[str]) -> tuple[str, ...]:
    rest = dict(given)
    adapters = rest.pop("lora_adapters", [])
    if not isinstance(adapters, list) or not all(isinstance(name, str) for name in adapters):
        faults.append("engine_args.lora_adapters: expected a list of paths")
        adapters = []
    for name, value in rest.items():
        if name in _ELSEWHERE:
            faults.append(f"engine_args.{name}: is set by {_ELSEWHERE[name]}")
        elif name in _OURS:
            faults.append(f"engine_args.{name}: is set by the engine itself; leave it out")
        else:
            _assign(params, name, value, f"engine_args.{name}", faults)
    if params.n_parallel < 1:
        faults.append(f"engine_args.n_parallel: must be at least 1, is {params.n_parallel}")
    return tuple(adapters)


def _assign(target: Any, name: str, value: Any, where: str, faults: list[str]) -> None:
    """Set one field of llama.cpp's; a mapping goes field by field into a structure."""
    known = [n for n in dir(target) if not n.startswith("_") and not callable(getattr(target, n))]
    if name not in known:
        faults.append(f"{where}: llama.cpp has no such parameter{_nearest(name, known)}")
        return
    current = getattr(target, name)
    if isinstance(value, dict):
        if isinstance(current, int | float | str | list | set | dict):
            faults.append(f"{where}: expected {_named(type(current))}, got a mapping")
            return
        for inner, inner_value in value.items():
            _assign(current, str(inner), inner_value, f"{where}.{inner}", faults)
        return
    if isinstance(current, enum.Enum) and isinstance(value, str):
        value = _member(type(current), value, where, faults)
        if value is None:
            return
    kind = int if isinstance(current, enum.Enum) else type(current)
    fault = _type_fault(kind, value)
    if fault is None:
        fault = _attempt(_field(name), target, value)
    if fault:
        faults.append(f"{where}: {fault}")


def _attempt(put: Callable[[Any, Any], None], target: Any, value: Any) -> str | None:
    """Put a value; the fault that llama.cpp's wrapper finds in it, if any."""
    try:
        put(target, value)
    except (TypeError, ValueError, OverflowError, AssertionError, AttributeError) as error:
        return str(error)
    return None


def _member(kind: type[enum.Enum], word: str, where: str, faults: list[str]) -> Any:
    """The member that a word means: `q8_0` is `GGML_TYPE_Q8_0`."""
    prefix = f"{kind.__name__}_".upper()
    known = {n.upper().removeprefix(prefix).lower(): m for n, m in kind.__members__.items()}
    member = known.get(word.lower().removeprefix(prefix.lower()))
    if member is None:
        faults.append(f"{where}: {word!r} is not one of {', '.join(sorted(known))}")
    return member


def _type_fault(expected: type, value: Any) -> str | None:
    if expected is float and type(value) is int:
        return None
    if expected is int and isinstance(value, enum.IntEnum):
        return None
    if expected in (bool, int, float, str, list) and type(value) is not expected:
        return f"expected {_named(expected)}, got {value!r:.60}"
    return None


def _named(kind: type) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words.get(kind, f"a {kind.__name__}")


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(sorted(known))}"

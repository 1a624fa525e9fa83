"""From checked arguments to a loaded `LLM`."""

from __future__ import annotations

import importlib
import pathlib
from typing import TYPE_CHECKING, Any

from oumi_core.errors import ConfigError, EngineError, OumiError
from oumi_core.types.failure import Failure, FailureKind

from oumi_vllm import library
from oumi_vllm.arguments import check_names, nearest
from oumi_vllm.said import said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from oumi_vllm.adapters import Adapter
    from oumi_vllm.arguments import Arguments

__all__ = ["load"]

_CPU_WORKER = "oumi_vllm.cpu_worker.CPUWorker"

_MOST_LORAS = 8
"""Adapters in one batch where the user does not say: each takes memory in every LoRA layer."""


def load(arguments: Arguments, adapters: Sequence[Adapter]) -> Any:
    """A loaded `LLM`. Blocks for as long as the model takes.

    Raises:
        ConfigError: an argument is unknown or wrong, or there is no such model.
        PluginError: there is no vLLM that works.
        EngineError: vLLM cannot be brought up.
    """
    vllm = library.import_vllm()
    known = library.defaults()
    check_names(arguments, known)
    try:
        return vllm.LLM(**_settled(arguments, known, adapters))
    except OumiError:
        raise
    except Exception as error:
        if library.is_refusal(error) or isinstance(error, OSError | ImportError):
            raise ConfigError(f"vLLM refuses this config: {said(error)}") from error
        raise EngineError(
            Failure(
                FailureKind.ENGINE_DEAD,
                f"vLLM cannot be brought up: {said(error)}; its log (stderr) says more. If memory "
                "is short: a smaller model.model_max_length, or other engine_args such as "
                "gpu_memory_utilization",
            )
        ) from error


def _settled(
    arguments: Arguments, known: Mapping[str, Any], adapters: Sequence[Adapter]
) -> dict[str, Any]:
    """The arguments for this vLLM: what depends on the machine and the version is worked out."""
    fields = {
        name: _config_object(value, known[name], arguments.places[name])
        for name, value in arguments.fields.items()
    }
    if fields.get("tensor_parallel_size") == -1:
        fields["tensor_parallel_size"] = _all_gpus()
    if arguments.gguf is not None:
        fields["model"] = _gguf_file(fields["model"], arguments.gguf, fields.get("revision"))
    if library.is_cpu():
        fields.setdefault("worker_cls", _CPU_WORKER)
    if "structured_outputs_config" not in fields:
        fields["structured_outputs_config"] = _compact(known["structured_outputs_config"])
    if adapters:
        fields["enable_lora"] = True
        fields.setdefault("max_loras", min(len(adapters), _MOST_LORAS))
        fields.setdefault("max_cpu_loras", max(len(adapters), fields["max_loras"]))
        if library.is_cpu():  # one more: see Loras.hold_plain
            fields |= {name: fields[name] + 1 for name in ("max_loras", "max_cpu_loras")}
        fields.setdefault("max_lora_rank", _rank(adapters))
    return fields


def _config_object(value: Any, default: Any, place: str) -> Any:
    """A mapping as the config class that vLLM has in its place, which refuses unknown names."""
    if not isinstance(value, dict) or default is None or isinstance(default, dict):
        return value
    try:
        made = type(default)(**value)
    except (TypeError, ValueError) as error:  # pydantic's is a ValueError
        raise ConfigError(f"{place}: {said(error)}") from error
    faults = list(_passed_over(value, made, place))
    if faults:
        raise ConfigError(*faults)
    return made


def _passed_over(given: Mapping[str, Any], config: Any, place: str) -> Iterator[str]:
    """Names that vLLM does not know; up to 0.14 or 0.15 it passes them over in silence."""
    known = library.field_names(config)
    for name, value in given.items():
        if known and name not in known:
            yield f"{place}.{name}: vLLM has no such argument{nearest(name, known)}"
        elif known and isinstance(value, dict):
            yield from _passed_over(value, getattr(config, name), f"{place}.{name}")


def _compact(default: Any) -> Any:
    """Structured outputs by xgrammar, with JSON on one line.

    White space is free between the parts of JSON, and a small model can fill its whole budget with
    it. vLLM has a switch for that only together with a backend that is named; without one it takes
    xgrammar first.
    """
    return type(default)(backend="xgrammar", disable_any_whitespace=True)


def _all_gpus() -> int:
    count: int = importlib.import_module("torch").cuda.device_count()
    return max(1, count)


def _gguf_file(model: str, name: str, revision: str | None) -> str:
    if not library.reads_gguf():
        raise ConfigError(
            "model.model_kwargs.filename: this version of vLLM reads no GGUF any more; take the "
            "engine llamacpp, or the model in its own format"
        )
    path = pathlib.Path(model).expanduser()
    if path.exists():
        return str(path / name if path.is_dir() else path)
    hub = importlib.import_module("huggingface_hub")
    return str(hub.hf_hub_download(model, name, revision=revision))


def _rank(adapters: Sequence[Adapter]) -> int:
    """The smallest rank of vLLM's that holds all adapters."""
    highest = max(adapters, key=lambda adapter: adapter.rank)
    for rank in library.lora_ranks():
        if rank >= highest.rank:
            return rank
    raise ConfigError(
        f"model.adapter_model: {highest.name} is of rank {highest.rank}, beyond vLLM's limit of "
        f"{library.lora_ranks()[-1]}"
    )

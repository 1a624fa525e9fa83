"""What the config says about vLLM, as its own `EngineArgs`; reading it needs no vLLM."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError

from oumi_vllm.images import ImageSources

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oumi_core.configs import ModelParams
    from oumi_core.engine import EngineConfig

__all__ = ["Arguments", "check_names", "nearest", "read_arguments"]

_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "model": "model.model_name",
        "tokenizer": "model.tokenizer_name",
        "revision": "model.model_revision",
        "trust_remote_code": "model.trust_remote_code",
    }
)
"""Fields of vLLM's that have a place of their own in the config -> the place."""

_BITSANDBYTES = ("load_in_4bit", "load_in_8bit")


@attrs.frozen
class Arguments:
    """What the user set about vLLM.

    Attributes:
        fields: `EngineArgs` by name, as far as they can be known without vLLM.
        places: where in the config each of them stands, for errors.
        adapters: LoRA adapters to have ready, that of the model first.
        gguf: the GGUF file of the model, by name or pattern; None if it is no GGUF.
    """

    fields: Mapping[str, Any]
    places: Mapping[str, str]
    adapters: tuple[str, ...]
    gguf: str | None = None

    @property
    def images(self) -> ImageSources:
        """Where images that rows name may come from."""
        path = self.fields.get("allowed_local_media_path")
        hosts = self.fields.get("allowed_media_domains") or ()
        return ImageSources(Path(path).expanduser() if path else None, hosts)


def read_arguments(config: EngineConfig) -> Arguments:
    """Put together what the config says; nothing is imported or loaded.

    Raises:
        ConfigError: lists everything that is said in two ways, or in the wrong place.
    """
    faults: list[str] = []
    model = config.model
    gathered = _Gathered(faults)
    gathered.put_all(_of_model(model))
    rest, gguf = _quantization(model, faults)
    gathered.put_given("model.model_kwargs", rest)
    given = dict(config.engine_args)
    adapters = _adapters(model, given.pop("lora_adapters", []), faults)
    gathered.put_given("engine_args", given)
    if model.tokenizer_kwargs:
        faults.append(
            "model.tokenizer_kwargs: vLLM loads the tokenizer itself and takes none; "
            "see its tokenizer_mode, in engine_args"
        )
    if faults:
        raise ConfigError(*faults)
    return Arguments(gathered.fields, gathered.places, adapters, gguf)


class _Gathered:
    """Fields from several places of a config; finds those that two places give differently."""

    def __init__(self, faults: list[str]) -> None:
        self.fields: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self._faults = faults

    def put(self, name: str, value: Any, place: str) -> None:
        if name in self.fields and self.fields[name] != value:
            self._faults.append(
                f"{place}: is {value!r:.60} but {self.places[name]} is "
                f"{self.fields[name]!r:.60}; give one"
            )
        self.fields[name] = value
        self.places.setdefault(name, place)

    def put_all(self, entries: Iterable[tuple[str, str, Any]]) -> None:
        for name, place, value in entries:
            self.put(name, value, place)

    def put_given(self, section: str, given: Mapping[str, Any]) -> None:
        for name, value in given.items():
            place = f"{section}.{name}"
            if name in _ELSEWHERE:
                self._faults.append(f"{place}: is set by {_ELSEWHERE[name]}")
            else:
                self.put(str(name), value, place)


def _of_model(model: ModelParams) -> Iterable[tuple[str, str, Any]]:
    """The fields that `ModelParams` has names of its own for; only those that were given."""
    yield "model", "model.model_name", model.model_name
    if model.tokenizer_name is not None:
        yield "tokenizer", "model.tokenizer_name", model.tokenizer_name
    if model.model_max_length is not None:
        yield "max_model_len", "model.model_max_length", model.model_max_length
    if model.torch_dtype != "auto":
        yield "dtype", "model.torch_dtype", model.torch_dtype
    if model.model_revision is not None:
        yield "revision", "model.model_revision", model.model_revision
    if model.trust_remote_code:
        yield "trust_remote_code", "model.trust_remote_code", True
    if model.processor_kwargs:
        yield "mm_processor_kwargs", "model.processor_kwargs", dict(model.processor_kwargs)


def _quantization(model: ModelParams, faults: list[str]) -> tuple[Mapping[str, Any], str | None]:
    """`model_kwargs` with what Oumi infers from them in vLLM's words; and the GGUF file's name."""
    rest = dict(model.model_kwargs)
    inferred: str | None = None
    gguf: str | None = None
    for name in _BITSANDBYTES:
        if rest.pop(name, False):
            inferred = "bitsandbytes"
    described = rest.get("quantization_config")
    if isinstance(described, dict) and {"quant_method", *_BITSANDBYTES} & described.keys():
        # In the words of transformers; vLLM reads the details from the model's own files.
        del rest["quantization_config"]
        inferred = str(described.get("quant_method") or "bitsandbytes")
    file = rest.pop("filename", None)
    if file is not None:
        if not str(file).endswith(".gguf"):
            faults.append("model.model_kwargs.filename: names the .gguf file of a model, if any")
        elif model.tokenizer_name is None:
            faults.append(
                "model.tokenizer_name: missing; vLLM reads no tokenizer from a GGUF file: name "
                "the repository of the model that it was made from"
            )
        inferred, gguf = "gguf", str(file)
    if inferred is not None:
        rest.setdefault("quantization", inferred)
    return rest, gguf


def _adapters(model: ModelParams, others: Any, faults: list[str]) -> tuple[str, ...]:
    if not isinstance(others, list) or not all(isinstance(name, str) for name in others):
        faults.append("engine_args.lora_adapters: expected a list of folders or repositories")
        others = []
    names = [model.adapter_model, *others]
    return tuple(dict.fromkeys(name for name in names if name is not None))


def check_names(arguments: Arguments, known: Iterable[str]) -> None:
    """Check the names against those of the vLLM that is installed.

    Raises:
        ConfigError: lists every name that it does not have, with the nearest.
    """
    names = sorted(known)
    faults = [
        f"{arguments.places[name]}: vLLM has no such argument{nearest(name, names)}"
        for name in arguments.fields
        if name not in names
    ]
    if faults:
        raise ConfigError(*faults)


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say about a name that is not known."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else "; see vLLM's engine arguments"

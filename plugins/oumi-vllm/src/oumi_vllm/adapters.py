"""LoRA adapters: where they are, of what rank, and whether they were made for this model."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError

from oumi_vllm.said import said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Adapter", "check_fits", "find_adapter", "without_effect"]

_WHERE = "model.adapter_model"
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LONGEST_HEADER = 100 * 2**20
_INPUT = re.compile(r"layers\.(\d+)\..*?(\w+)\.lora_A\.(?:\w+\.)?weight$")
_FROM_HIDDEN = frozenset({"q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj"})


@attrs.frozen
class Adapter:
    """A LoRA adapter on this disk.

    Attributes:
        name: as the config names it.
        path: its folder, as PEFT wrote it.
        rank: the highest rank of its matrices.
        base: the model that it says it was made for; None if it does not say.
    """

    name: str
    path: Path
    rank: int
    base: str | None


def find_adapter(name: str) -> Adapter:
    """The adapter that a name means: a folder, or a repository, which is fetched. Blocks.

    Raises:
        ConfigError: there is none, or it is no LoRA adapter.
    """
    folder = Path(name).expanduser()
    if not folder.exists() and _REPOSITORY.fullmatch(name):
        folder = _fetched(name)
    path = folder / _CONFIG
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"{_WHERE}: {name!r} is no LoRA adapter: there is no {path.absolute()}; give a folder "
            "that PEFT wrote, or a Hugging Face repository (owner/name)"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_WHERE}: {path}: cannot be read: {error}") from error
    return Adapter(name, folder.absolute(), _rank(config, path), _base(config))


def _fetched(name: str) -> Path:
    hub = importlib.import_module("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # the hub's HTTP library has changed twice, and its errors with it
        raise ConfigError(
            f"{_WHERE}: the Hugging Face repository {name} cannot be had: "
            f"{type(error).__name__}: {said(error)}"
        ) from error


def _rank(config: Any, path: Path) -> int:
    try:
        kind = str(config.get("peft_type", "LORA")).upper()
        ranks = [int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{_WHERE}: {path}: is not the configuration of an adapter") from error
    if kind != "LORA":
        raise ConfigError(f"{_WHERE}: {path}: peft_type is {kind}; vLLM takes LORA only")
    return max(ranks)


def _base(config: Mapping[str, Any]) -> str | None:
    base = config.get("base_model_name_or_path")
    return base if isinstance(base, str) and base else None


def check_fits(adapter: Adapter, model: str, sizes: Any) -> None:
    """Check the shapes of an adapter against the model's, which vLLM does not in all cases.

    Its name of the base is no proof: the same model has several names (a folder, a copy, a
    quantised form). It goes into the error.

    Args:
        adapter: the adapter.
        model: the name of the model.
        sizes: the model's configuration, with `hidden_size` and `num_hidden_layers`.

    Raises:
        ConfigError: it was made for a model of another size, or its weights cannot be read.
    """
    hidden = getattr(sizes, "hidden_size", None)
    layers = getattr(sizes, "num_hidden_layers", None)
    for at, module, width in _inputs(adapter):
        fault = ""
        if layers is not None and at >= layers:
            fault = f"has weights for layer {at}, the model has {layers} layers"
        elif hidden is not None and module in _FROM_HIDDEN and width != hidden:
            fault = f"its {module} takes {width} values, the model's {hidden}"
        if fault:
            base = f"; it was made for {adapter.base}" if adapter.base else ""
            raise ConfigError(
                f"{_WHERE}: {adapter.name} does not fit the model {model}: {fault}{base}"
            )


def without_effect(adapter: Adapter, folder: Path) -> Adapter:
    """An adapter of the same form whose matrices are all zero; written into `folder`.

    Raises:
        ConfigError: the adapter's weights are not in safetensors.
    """
    source = adapter.path / _WEIGHTS
    if not source.exists():
        raise ConfigError(f"{_WHERE}: {adapter.name} has no {_WEIGHTS}, which is needed on a CPU")
    shutil.copy(adapter.path / _CONFIG, folder / _CONFIG)
    with source.open("rb") as old, (folder / _WEIGHTS).open("wb") as new:
        length = old.read(8)
        new.write(length + old.read(int.from_bytes(length, "little")))
        new.truncate(source.stat().st_size)  # what was not written is zero
    return attrs.evolve(adapter, name="", path=folder)


def _inputs(adapter: Adapter) -> Iterator[tuple[int, str, int]]:
    """Layer, module and width of the input of each pair of matrices."""
    path = adapter.path / _WEIGHTS
    if not path.exists():
        return  # an adapter of the older .bin form; it is vLLM that decides about these
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _LONGEST_HEADER)))
        shapes = {n: e["shape"] for n, e in header.items() if n != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{_WHERE}: {path}: is no file of safetensors: {error}") from error
    for name, shape in shapes.items():
        match = _INPUT.search(name)
        if match is not None and len(shape) == 2:  # noqa: PLR2004 - a matrix
            yield int(match[1]), match[2], shape[1]

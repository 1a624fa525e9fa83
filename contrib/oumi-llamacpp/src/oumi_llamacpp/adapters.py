"""Finds a LoRA adapter, converts it where it must be, and checks that it fits the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from oumi_core.errors import ConfigError

from oumi_llamacpp.adapter_shapes import check_shapes
from oumi_llamacpp.gguf_header import read_header
from oumi_llamacpp.hub import fetch, is_repository
from oumi_llamacpp.peft import CONFIG_NAME, WEIGHTS_NAME, convert

if TYPE_CHECKING:
    from oumi_llamacpp.gguf_header import GGUFHeader, Shape

__all__ = ["find_adapter"]

_WHERE = "model.adapter_model"
_A, _B = ".lora_a", ".lora_b"


def find_adapter(name: str, base: GGUFHeader) -> Path:
    """A GGUF file of the adapter that `name` means: such a file, a PEFT folder or a repository.

    A PEFT adapter is converted, once: the result is kept in the user's cache.

    Raises:
        ConfigError: there is no such adapter, it cannot be converted, or it is not for `base`.
        EngineError: the repository cannot be reached.
    """
    path = Path(name).expanduser()
    if not path.exists() and is_repository(name):
        path = fetch(name, None, _peft_files).parent
    if path.is_dir():
        path = convert(path, base)
    elif not path.exists():
        raise ConfigError(
            f"{_WHERE}: there is no file or folder {path.absolute()}, and {name!r} is no Hugging "
            "Face repository (owner/name); give a GGUF adapter or a folder that PEFT wrote"
        )
    _check(read_header(path), base)
    return path


def _peft_files(names: list[str]) -> list[str]:
    missing = {CONFIG_NAME, WEIGHTS_NAME} - set(names)
    if missing:
        raise ConfigError(f"{_WHERE}: the repository has no {' and no '.join(sorted(missing))}")
    return [CONFIG_NAME, WEIGHTS_NAME]


def _check(adapter: GGUFHeader, base: GGUFHeader) -> None:
    kind = adapter.metadata.get("adapter.type")
    if not adapter.is_adapter or kind != "lora":
        what = f"an adapter of type {kind!r}" if adapter.is_adapter else "a whole model"
        raise ConfigError(f"{_WHERE}: {adapter.path} is {what}, not a LoRA adapter")
    if adapter.architecture != base.architecture:
        raise ConfigError(
            f"{_WHERE}: {adapter.path} is for the architecture {adapter.architecture!r}, the "
            f"model {base.path} is of {base.architecture!r}; it was made for another model"
        )
    check_shapes(adapter.path, _factors(adapter), base)


def _factors(adapter: GGUFHeader) -> dict[str, tuple[Shape, Shape]]:
    names = {name.removesuffix(_A) for name in adapter.tensors if name.endswith(_A)}
    names |= {name.removesuffix(_B) for name in adapter.tensors if name.endswith(_B)}
    halves = [name for name in sorted(names) if {name + _A, name + _B} - adapter.tensors.keys()]
    if halves:
        raise ConfigError(f"{_WHERE}: {adapter.path} has only one of two factors of {halves[0]}")
    return {name: (adapter.tensors[name + _A], adapter.tensors[name + _B]) for name in names}

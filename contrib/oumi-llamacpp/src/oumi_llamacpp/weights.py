"""Finds the GGUF file that `model.model_name` and `model.model_kwargs.filename` mean."""

from __future__ import annotations

import fnmatch
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from oumi_core.errors import ConfigError

from oumi_llamacpp.gguf_header import GGUFHeader, read_header
from oumi_llamacpp.hub import fetch, is_repository

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oumi_core.configs import ModelParams

__all__ = ["DEMO", "find_model"]

DEMO = "demo"
"""The name of the tiny model that comes with this package."""

_DEFAULT_PATTERN = "*8_0.gguf"
"""Oumi's default of `model_kwargs.filename`."""

_WHERE = "model.model_name"
_SHARD = re.compile(r"-(\d{5})-of-\d{5}\.gguf$")
_SHOWN = 8


def find_model(model: ModelParams) -> GGUFHeader:
    """The file to load, its head read and checked.

    Looks, in this order, for the packaged model (`demo`), a file, a folder, and a Hugging Face
    repository.

    Raises:
        ConfigError: there is no such file, or several, or it is no GGUF model.
        EngineError: the repository cannot be reached.
    """
    header = read_header(_find(model))
    if header.is_adapter:
        raise ConfigError(
            f"{_WHERE}: {header.path} is an adapter, not a model; name it in model.adapter_model"
        )
    if not header.architecture:
        raise ConfigError(f"{_WHERE}: {header.path} names no architecture: it is no model")
    return header


def _find(model: ModelParams) -> Path:
    name = model.model_name
    pattern = model.model_kwargs.get("filename")
    if name == DEMO:
        return Path(str(resources.files("oumi_llamacpp") / "models" / "demo.gguf"))
    path = Path(name).expanduser()
    if path.is_dir():
        return _in_folder(path, pattern)
    if path.exists():
        return path
    if is_repository(name) and path.suffix != ".gguf":
        return _in_repository(name, model.model_revision, pattern or _DEFAULT_PATTERN)
    raise ConfigError(
        f"{_WHERE}: there is no file or folder {path.absolute()}, and {name!r} is no Hugging Face "
        f"repository (owner/name); give one of these, or {DEMO!r} for the model that comes along"
    )


def _in_repository(repository: str, revision: str | None, pattern: str) -> Path:
    place = f"the repository {repository}"

    def choose(names: Iterable[str]) -> list[str]:
        return _shards(_only(names, pattern, place), names)

    return fetch(repository, revision, choose)


def _in_folder(folder: Path, pattern: str | None) -> Path:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf"))
    if pattern is None:
        firsts = _models(names)
        if len(firsts) == 1:
            return folder / firsts[0]
        pattern = _DEFAULT_PATTERN
    return folder / _only(names, pattern, str(folder))


def _only(names: Iterable[str], pattern: str, place: str) -> str:
    """The one model among the names that fits the pattern."""
    known = _models(names)
    found = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
    if len(found) == 1:
        return found[0]
    if pattern in found:
        return pattern
    shown = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
    fault = f"{len(found)} models fit" if found else "nothing fits"
    raise ConfigError(
        f"{_WHERE}: in {place} {fault} {pattern!r}; "
        + (f"it has: {shown}; say which in " if known else "it has no .gguf file; see ")
        + "model.model_kwargs.filename"
    )


def _models(names: Iterable[str]) -> list[str]:
    """Without image projectors and, of a model in several files, without all but the first."""
    kept = []
    for name in names:
        shard = _SHARD.search(name)
        is_first = shard is None or int(shard[1]) == 1
        if is_first and name.endswith(".gguf") and not Path(name).name.startswith("mmproj"):
            kept.append(name)
    return kept


def _shards(first: str, names: Iterable[str]) -> list[str]:
    """All files of the model whose first file this is, the first one first."""
    shard = _SHARD.search(first)
    if shard is None:
        return [first]
    stem = first[: shard.start()]
    return sorted(n for n in names if n.startswith(stem) and _SHARD.fullmatch(n[len(stem) :]))

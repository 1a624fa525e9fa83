"""A config to plain data and to YAML, without what must stay secret."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oumi_core.configs import yaml_text
from oumi_core.configs.checks import kind
from oumi_core.configs.params import Params, own, params_fields
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["to_dict", "to_yaml"]

_SCALARS = (bool, int, float, str, bytes, dt.date, type(None))


def to_dict(params: Params) -> dict[str, Any]:
    """Plain data: every field but hidden ones, and those that are null by default and still so."""
    data = {}
    for field in params_fields(type(params)).values():
        value = getattr(params, field.attribute)
        if not field.hidden and not (value is None and field.default is None):
            data[field.name] = to_dict(value) if isinstance(value, Params) else own(value)
    return data


def to_yaml(params: Params, path: str | os.PathLike[str] | None = None) -> str:
    """YAML text, also written to `path` if that is given.

    Raises:
        ConfigError: a value has no form in YAML, such as a class; or the file cannot be written.
    """
    data = to_dict(params)
    faults = list(_unwritable(data, ""))
    if faults:
        raise ConfigError(*faults)
    text = yaml_text.write(_plain(data))
    if path is not None:
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            fault = f"cannot be written: {error.strerror}"
            raise ConfigError(fault, source=os.fspath(path)) from error
    return text


def _unwritable(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, element in value.items():
            yield from _unwritable(element, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _unwritable(element, f"{path}[{index}]")
    elif not isinstance(value, _SCALARS):
        yield f"{path}: is {kind(value)}, which YAML cannot hold"


def _plain(value: Any) -> Any:
    """Subclasses of `str`, such as members of a `StrEnum`, as plain text: YAML knows only that."""
    if isinstance(value, dict):
        return {_plain(key): _plain(element) for key, element in value.items()}
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return str.__str__(value) if isinstance(value, str) else value

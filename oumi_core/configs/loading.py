"""Plain data or YAML to a config, with every fault of it in one error."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from oumi_core.configs import overrides, yaml_text
from oumi_core.configs.checks import kind
from oumi_core.configs.params import own, params_fields
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["load", "load_text", "read_file"]

_Config = TypeVar("_Config")


def read_file(path: str | os.PathLike[str]) -> str:
    """The text of a config file.

    Raises:
        ConfigError: there is no such file, or it cannot be read as UTF-8 text.
    """
    source = os.fspath(path)
    try:
        return Path(source).read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError("there is no such file", source=source) from error
    except IsADirectoryError as error:
        raise ConfigError("is a folder; give the path of a YAML file", source=source) from error
    except UnicodeDecodeError as error:
        fault = f"is not UTF-8 text: byte {error.start + 1} is 0x{error.object[error.start]:02x}"
        raise ConfigError(f"{fault}; save it as UTF-8", source=source) from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", source=source) from error
    except ValueError as error:  # a NUL character in the path
        raise ConfigError("is not a path", source=source) from error


def load_text(
    params: type[_Config],
    text: str,
    *,
    source: str | None = None,
    changes: Iterable[tuple[str, Any]] = (),
) -> _Config:
    """Make a params object from YAML text.

    Args:
        params: the class to make.
        text: one YAML document.
        source: the file that the text is from, for errors.
        changes: overrides, as for `load`.

    Raises:
        ConfigError: lists every fault, in the order of the text, each with its path and line.
    """
    try:
        document = yaml_text.read(text)
    except ConfigError as error:
        raise ConfigError(*error.faults, source=source) from error.__cause__
    if document.data is None:
        raise ConfigError(
            f"is empty; a config has keys such as {_some_keys(params)}", source=source
        )
    return load(params, document.data, source=source, changes=changes, document=document)


def load(
    params: type[_Config],
    data: Any,
    *,
    source: str | None = None,
    changes: Iterable[tuple[str, Any]] = (),
    document: yaml_text.Document | None = None,
) -> _Config:
    """Make a params object from plain data, which stays as it is.

    Args:
        params: the class to make.
        data: a mapping of its fields; sections as mappings or as params objects.
        source: the file that the data is from, for errors.
        changes: pairs of a dotted path and a value, set before anything is checked; see
            `oumi_core.configs.overrides`.
        document: the YAML that the data is from, for line numbers.

    Raises:
        ConfigError: lists every fault.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"expected a mapping with keys such as {_some_keys(params)}, got {kind(data)}",
            source=source,
        )
    loading = _Loading(params)
    try:
        changed = own(data)
        changed_paths = overrides.apply(params, changed, changes, loading.faults)
        config = loading.build(params, changed, "")
    except RecursionError as error:
        raise ConfigError("is nested too deeply, or holds itself", source=source) from error
    if document is not None:
        loading.faults.extend((path, "stands here a second time") for path in document.repeated)
    if loading.faults:
        faults = _placed(loading.faults, document, changed_paths)
        raise ConfigError(*faults, source=source)
    built: _Config = config
    return built


@attrs.frozen
class _Loading:
    """One load: the class at the root, and the faults so far as pairs of a path and a message."""

    root: type[Any]
    faults: list[tuple[str, str]] = attrs.field(factory=list)

    def build(self, params: type[Any], data: Mapping[Any, Any], path: str) -> Any:
        """The object; something unusable where there were faults."""
        fields = params_fields(params)
        values: dict[str, Any] = {}
        before = len(self.faults)
        for key, value in data.items():
            where = f"{path}{key}"
            if key not in fields:
                self.faults.append((where, self._unknown(key, params)))
            elif (section := fields[key].check.section) is None:
                values[key] = value
            elif isinstance(value, Mapping):
                values[key] = self.build(section, value, f"{where}.")
            elif value is None or isinstance(value, section):
                values[key] = value
            else:
                self.faults.append((where, f"expected a mapping, got {kind(value)}"))
        for name, field in fields.items():
            if field.default is attrs.NOTHING and name not in data:
                self.faults.append((f"{path}{name}", "is missing"))
                values[name] = "?"  # so that the faults of the other fields are found too
        try:
            built = params(**values)
        except ConfigError as error:
            for fault in error.faults:
                place, _, message = fault.partition(": ")
                self.faults.append((f"{path}{place}", message))
        return built if len(self.faults) == before else None

    def _unknown(self, key: object, params: type[Any]) -> str:
        homes = [
            f"in {home}" if home else "at the top"
            for home, fields in _sections(self.root)
            if key in fields
        ]
        if homes:
            return f"unknown key here; it belongs {' or '.join(homes)}"
        near = difflib.get_close_matches(str(key).lower(), params_fields(params), n=1)
        if near:
            return f"unknown key; did you mean {near[0]}?"
        return f"unknown key; known ones are {', '.join(params_fields(params))}"


def _sections(params: type[Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    fields = params_fields(params)
    yield path, fields
    for name, field in fields.items():
        if field.check.section is not None:
            yield from _sections(field.check.section, f"{path}.{name}" if path else name)


def _some_keys(params: type[Any]) -> str:
    return ", ".join([name for name, field in params_fields(params).items() if field.check.section])


def _placed(
    faults: list[tuple[str, str]],
    document: yaml_text.Document | None,
    changed: Sequence[str],
) -> list[str]:
    """The faults as text, in the order of the document, overrides last."""
    lines: list[tuple[float, str]] = []
    for path, message in faults:
        line = document.line(overrides.keys_of(path)) if document else None
        came_with_one = (
            document is not None and line is None and any(_is_above(path, one) for one in changed)
        )
        if came_with_one or any(path == one or _is_above(one, path) for one in changed):
            lines.append((float("inf"), f"{path}: {message} (an override)"))
            continue
        place = f" (line {line})" if line else ""
        lines.append((line or 0, f"{path}: {message}{place}"))
    return [text for _, text in sorted(lines, key=lambda pair: pair[0])]


def _is_above(path: str, other: str) -> bool:
    return other.startswith((f"{path}.", f"{path}["))

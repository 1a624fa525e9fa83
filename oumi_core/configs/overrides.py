"""Dotted overrides: `generation.temperature` and `0.5`, laid over plain data before it is checked.

A path names keys with dots and elements of lists with `[0]`; the index after the last appends. A
value that is text is read as YAML (`0.5`, `true`, `null`, `[a, b]`), but for a field that holds
text it is taken as it stands (`--model.model_name 123` names a model `123`), `null` and `~`
excepted where the field may be null.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from oumi_core.configs import yaml_text
from oumi_core.configs.checks import Check, kind
from oumi_core.configs.params import own, params_fields
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["apply", "keys_of", "split_arguments"]

_KEY = r"[^.\[\]=]+"
_PATH = re.compile(rf"{_KEY}(?:\[\d+\])*(?:\.{_KEY}(?:\[\d+\])*)*")
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def split_arguments(arguments: Iterable[str]) -> list[tuple[str, str]]:
    """Oumi's `a.b=c` arguments as pairs of a path and a value.

    Raises:
        ConfigError: lists every argument that has no `=`, by its place.
    """
    pairs, faults = [], []
    for number, argument in enumerate(arguments, start=1):
        path, equals, value = argument.partition("=")
        pairs.append((path, value))
        if not equals:
            faults.append(f"override {number}: has no '='; write path=value")
    if faults:
        raise ConfigError(*faults)
    return pairs


def keys_of(path: str) -> list[str]:
    """The keys of a path, from the root down; an index as its digits."""
    return [step[1] or step[2] for step in _STEP.finditer(path)]


def apply(
    params: type[Any],
    data: dict[Any, Any],
    changes: Iterable[tuple[str, Any]],
    faults: list[tuple[str, str]],
) -> list[str]:
    """Set each value in `data`, in order; a later one wins.

    Args:
        params: the params class that `data` is for.
        data: the data to change.
        changes: pairs of a path and a value.
        faults: takes a path and a message for each change that cannot be made.

    Returns:
        The paths that were given.
    """
    paths = []
    for path, value in changes:
        paths.append(path)
        if not _PATH.fullmatch(path):
            faults.append((path, "is not a path; write keys with dots, and [0] for a list"))
            continue
        try:
            _set(params, data, path, value)
        except ConfigError as error:
            faults.extend((path, fault) for fault in error.faults)
    return paths


def _set(params: type[Any], data: dict[Any, Any], path: str, value: Any) -> None:
    steps = [int(step[1]) if step[1] is not None else str(step[2]) for step in _STEP.finditer(path)]
    checks: list[Check | None] = [Check(lambda _: (), section=params)]
    for step in steps:
        checks.append(_check_of(step, checks[-1]))
    new = _value(value, checks[-1])  # read before anything is changed
    holder: Any = data
    for step, below, check in zip(steps, steps[1:], checks, strict=False):
        _reach(holder, step, check)
        if holder[step] is None:
            holder[step] = [] if isinstance(below, int) else {}
        holder = holder[step]
    _reach(holder, steps[-1], checks[-2])
    holder[steps[-1]] = new


def _reach(holder: Any, step: int | str, check: Check | None) -> None:
    """Make sure that `holder[step]` can be set; it is None if there was nothing."""
    if isinstance(step, int):
        if not isinstance(holder, list):
            raise ConfigError(f"cannot be set: what is above it is {kind(holder)}, not a list")
        if step > len(holder):
            raise ConfigError(f"cannot be set: the list has {len(holder)} elements")
        if step == len(holder):
            holder.append(None)
        return
    if not isinstance(holder, dict):
        raise ConfigError(f"cannot be set: what is above it is {kind(holder)}, not a mapping")
    if check is not None and check.section is not None:
        for twin in check.section.synonyms.get(step, ()):
            holder.pop(twin, None)
    holder.setdefault(step, None)


def _check_of(step: int | str, check: Check | None) -> Check | None:
    """What is known of the value one step down; None if it is free."""
    if check is None:
        return None
    if isinstance(step, int):
        return check.item
    if check.section is None:
        return None
    field = params_fields(check.section).get(step)
    return field.check if field else None


def _value(value: Any, check: Check | None) -> Any:
    if not isinstance(value, str):
        return own(value)
    if check is not None and check.takes_text:
        return None if check.takes_none and value in {"null", "~"} else value
    return yaml_text.read(value).data

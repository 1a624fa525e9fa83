"""What a value of a config may be: one object says it in Python, in words and as JSON Schema.

A `Check` finds what is wrong with one value and never changes it. The same checks serve the
constructors of the params classes, the loading of YAML and the schema that editors use, so the
three cannot disagree.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

__all__ = [
    "Check",
    "Faults",
    "boolean",
    "integer",
    "items",
    "mapping",
    "number",
    "optional",
    "section",
    "text",
]

Faults = Iterable[tuple[str, str]]
"""Pairs of a place within the value (`""`, `"[0]"`, `".key"`) and what is wrong there."""

_SHOWN = 60
_SHOWN_BITS = 256

_KINDS: tuple[tuple[Any, str], ...] = (
    (type(None), "null"),
    (bool, "a boolean"),
    (int | float, "a number"),
    (str, "text"),
    (dt.date, "a date"),
    (Mapping, "a mapping"),
    (list | tuple, "a list"),
)


@attrs.frozen
class Check:
    """What one field accepts.

    Attributes:
        find: the faults of a value; nothing if it is fine.
        schema: the same rule as JSON Schema.
        takes_text: an override's text is taken as it stands, not read as YAML.
        takes_none: null is accepted.
        item: the check of each element, if the value is a list.
        section: the params class of the value, if it is one.
    """

    find: Callable[[Any], Faults]
    schema: Mapping[str, Any] = attrs.field(factory=dict)
    takes_text: bool = False
    takes_none: bool = False
    item: Check | None = None
    section: type[Any] | None = None


def describe(value: object) -> str:
    """Name a value for an error message, briefly, as its author would."""
    match value:
        case None:
            return "null"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() if value.bit_length() > _SHOWN_BITS:  # str() refuses very long ones
            return f"a number of {value.bit_length()} bits"
        case int() | float():
            return f"the number {value}"
        case str():
            shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "..."
            return f"the text {shown!r}"
        case _:
            return kind(value)


def kind(value: object) -> str:
    """Name the kind of a value but not the value, which may hold a key."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    for types, words in _KINDS:
        if isinstance(value, types):
            return words
    return f"an object of type {type(value).__name__}"


def boolean() -> Check:
    """Accept true and false only."""

    def find(value: Any) -> Faults:
        if not isinstance(value, bool):
            yield "", f"expected true or false, got {describe(value)}"

    return Check(find, {"type": "boolean"})


def text(*, choices: Iterable[str] = (), empty: bool = False, secret: bool = False) -> Check:
    """Accept text.

    Args:
        choices: the only texts that are allowed; any if empty.
        empty: the empty text is allowed.
        secret: the value must never be shown.
    """
    allowed = tuple(choices)

    def find(value: Any) -> Faults:
        if not isinstance(value, str):
            hint = "; put it in quotes" if isinstance(value, bool | int | float | dt.date) else ""
            yield "", f"expected text, got {kind(value) if secret else describe(value)}{hint}"
        elif allowed and value not in allowed:
            yield "", f"must be one of {', '.join(allowed)}; is {value[:_SHOWN]!r}"
        elif not value and not empty:
            yield "", "must not be empty"

    schema: dict[str, Any] = {"type": "string"}
    if allowed:
        schema["enum"] = list(allowed)
    elif not empty:
        schema["minLength"] = 1
    return Check(find, schema, takes_text=True)


def integer(minimum: int | None = None, maximum: int | None = None) -> Check:
    """Accept a whole number in a range, both ends included; no booleans, no `1.0`."""

    def find(value: Any) -> Faults:
        if isinstance(value, bool) or not isinstance(value, int):
            yield "", f"expected a whole number, got {describe(value)}"
        elif not _within(value, minimum, maximum):
            yield "", _range_fault(value, minimum, maximum)

    return Check(find, {"type": "integer", **_range_schema(minimum, maximum)})


def number(
    minimum: float | None = None, maximum: float | None = None, *, above: float | None = None
) -> Check:
    """Accept a finite number in a range, both ends included; whole numbers too.

    Args:
        minimum: the smallest number allowed.
        maximum: the greatest number allowed.
        above: a bound that the number must exceed.
    """

    def find(value: Any) -> Faults:
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield "", f"expected a number, got {describe(value)}"
        elif not _is_finite(value):
            yield "", f"must be a finite number, is {describe(value).removeprefix('the number ')}"
        elif above is not None and value <= above:
            yield "", f"must be greater than {above}, is {value}"
        elif not _within(value, minimum, maximum):
            yield "", _range_fault(value, minimum, maximum)

    exclusive = {} if above is None else {"exclusiveMinimum": above}
    return Check(find, {"type": "number", **exclusive, **_range_schema(minimum, maximum)})


def items(item: Check, *, empty: bool = True, distinct: bool = False) -> Check:
    """Accept a list whose every element passes `item`.

    Args:
        item: the check of each element.
        empty: a list without elements is allowed.
        distinct: no two elements may be equal.
    """

    def find(value: Any) -> Faults:
        if not isinstance(value, list | tuple):
            yield "", f"expected a list, got {kind(value)}"
            return
        if not value and not empty:
            yield "", "must not be empty"
        for index, element in enumerate(value):
            for place, message in item.find(element):
                yield f"[{index}]{place}", message
            if distinct and element in value[:index]:
                yield f"[{index}]", f"{describe(element)} stands in the list twice"

    schema: dict[str, Any] = {"type": "array", "items": dict(item.schema)}
    if not empty:
        schema["minItems"] = 1
    if distinct:
        schema["uniqueItems"] = True
    return Check(find, schema, item=item)


def mapping(values: Check | None = None, *, whole_number_keys: bool = False) -> Check:
    """Accept a mapping with text keys.

    Args:
        values: the check of each value; None accepts every value.
        whole_number_keys: keys may be whole numbers too.
    """

    def find(value: Any) -> Faults:
        if not isinstance(value, Mapping):
            yield "", f"expected a mapping, got {kind(value)}"
            return
        for key, element in value.items():
            if not isinstance(key, str) and not (whole_number_keys and type(key) is int):
                wanted = "text or a whole number" if whole_number_keys else "text"
                yield "", f"expected {wanted} as the key, got {describe(key)}"
            if values is not None:
                for place, message in values.find(element):
                    yield f".{key}{place}", message

    schema: dict[str, Any] = {"type": "object"}
    if values is not None:
        schema["additionalProperties"] = dict(values.schema)
    return Check(find, schema)


def section(params: type[Any]) -> Check:
    """Accept an instance of a params class; loading makes it from a mapping."""

    def find(value: Any) -> Faults:
        if not isinstance(value, params):
            yield "", f"expected {params.__name__}, got {kind(value)}"

    return Check(find, section=params)


def optional(check: Check) -> Check:
    """Accept null as well as what `check` accepts."""

    def find(value: Any) -> Faults:
        return () if value is None else check.find(value)

    schema = dict(check.schema)
    if schema and "enum" not in schema and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    elif schema:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return attrs.evolve(check, find=find, schema=schema, takes_none=True)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of floats
        return False


def _within(value: float, minimum: float | None, maximum: float | None) -> bool:
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def _range_fault(value: float, minimum: float | None, maximum: float | None) -> str:
    given = describe(value).removeprefix("the number ")
    if maximum is None:
        return f"must be at least {minimum}, is {given}"
    if minimum is None:
        return f"must be at most {maximum}, is {given}"
    return f"must be between {minimum} and {maximum}, is {given}"


def _range_schema(minimum: float | None, maximum: float | None) -> dict[str, float]:
    bounds = {"minimum": minimum, "maximum": maximum}
    return {name: bound for name, bound in bounds.items() if bound is not None}

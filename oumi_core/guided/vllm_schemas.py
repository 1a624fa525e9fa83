"""What vLLM does with a JSON Schema: which part it leaves out, and which backend holds it. Pure.

Seen with vLLM 0.32, whose first choice is xgrammar 0.2.8: it answers as if these parts were not
there, and an answer that does not fit comes back as if it did. What it cannot do and says so
(`uniqueItems` that no backend takes, an array of fewer items than its `prefixItems`) is not here:
the server refuses that itself. Nor is `oneOf`, which it holds as `anyOf`: an answer that fits two
of its schemas is rare, and found when it is checked.

Here and not in a plugin, because vLLM is reached by two: over HTTP, and in this process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ignored_parts", "needs_another_backend"]

_UNKNOWN = (
    "$dynamicRef",
    "$recursiveRef",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "not",
)

_ALONE = ("$ref", "const", "enum", "allOf", "anyOf", "oneOf")
"""Keywords beside which all others are left out, in the order in which they are looked for."""

_BY_TYPE = {
    "object": frozenset(
        {
            "additionalProperties",
            "maxProperties",
            "minProperties",
            "patternProperties",
            "properties",
            "propertyNames",
            "required",
            "unevaluatedProperties",
        }
    ),
    "array": frozenset(
        {
            "contains",
            "items",
            "maxContains",
            "maxItems",
            "minContains",
            "minItems",
            "prefixItems",
            "unevaluatedItems",
            "uniqueItems",
        }
    ),
    "string": frozenset({"maxLength", "minLength", "pattern"}),
    "number": frozenset(
        {"exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"}
    ),
}
_LIMITS = frozenset().union(*_BY_TYPE.values())
_SHOWS_TYPE = {
    "object": ("additionalProperties", "properties", "unevaluatedProperties"),
    "array": ("items", "prefixItems", "unevaluatedItems"),
}
"""Keywords from which the type is taken where none is given."""

_FORMATS = frozenset(
    {
        *("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "json-pointer"),
        *("relative-json-pointer", "time", "uri", "uri-reference", "uri-template", "uuid"),
    }
)
"""Formats that xgrammar knows."""

_OF_LISTS = frozenset({"contains", "maxContains", "minContains", "uniqueItems"})
_FOR_ANOTHER_BACKEND = _OF_LISTS | {"patternProperties", "propertyNames"}
"""Keywords for which vLLM may choose another backend, but only beside the type itself."""

_LENGTHS = frozenset({"maxLength", "minLength"})

_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONE = (
    *("additionalProperties", "contains", "items", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)


def ignored_parts(schema: Any) -> list[str]:
    """What would be ignored: a keyword, where it stands (as a JSON pointer) and why."""
    return [
        f"{keyword!r} at {place or '/'} ({why})"
        for place, part in _parts(schema, "")
        for keyword, why in _ignored(part)
    ]


def needs_another_backend(schema: Any) -> bool:
    """True if vLLM gives the schema to another backend than xgrammar, as its first choice."""
    return any(_is_beyond_xgrammar(part) for _, part in _parts(schema, ""))


def _is_beyond_xgrammar(part: dict[str, Any]) -> bool:
    names = _names(part.get("type", ()))
    return (
        (("number" in names or "integer" in names) and "multipleOf" in part)
        or ("array" in names and bool(part.keys() & _OF_LISTS))
        or ("string" in names and (_is_of_two_kinds(part) or _is_of_unknown_format(part)))
        or ("object" in names and _names_are_of_two_kinds(part))
        or len(part.get("allOf", ())) > 1
    )


def _is_of_two_kinds(part: dict[str, Any]) -> bool:
    """True for a string that is limited both by what stands in it and by its length."""
    return ("pattern" in part or "format" in part) and bool(part.keys() & _LENGTHS)


def _is_of_unknown_format(part: dict[str, Any]) -> bool:
    return "format" in part and part["format"] not in _FORMATS


def _names_are_of_two_kinds(part: dict[str, Any]) -> bool:
    patterns, name = part.get("patternProperties", {}), part.get("propertyNames")
    if patterns and ("properties" in part or len(patterns) > 1):
        return True
    others = (
        bool(patterns)
        or "properties" in part
        or part.get("unevaluatedProperties", True) is not True
    )
    return name is not None and (others or (isinstance(name, dict) and _is_of_two_kinds(name)))


def _parts(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema and every schema in it, each with its place."""
    if not isinstance(schema, dict):
        return
    yield place, schema
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            for key, one in value.items():
                yield from _parts(one, f"{place}/{name}/{key}")
        elif name in _LISTS and isinstance(value, list):
            for at, one in enumerate(value):
                yield from _parts(one, f"{place}/{name}/{at}")
        elif name in _ONE:
            yield from _parts(value, f"{place}/{name}")


def _ignored(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _UNKNOWN:
        if name in part:
            yield name, "it is not known"
    reference = part.get("$ref", "#")
    if reference != "#" and not reference.startswith("#/"):
        yield "$ref", "only references to a place in the schema itself are followed"
    alone = next((name for name in _ALONE if name in part), None)
    # Of several schemas in `allOf` vLLM makes one, with another backend.
    if alone is not None and not (alone == "allOf" and len(part["allOf"]) > 1):
        yield from _beside(alone, part)
    else:
        yield from _untyped(part)


def _beside(alone: str, part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    why = f"{alone!r} must stand alone"
    for name in part:
        if name == "enum" and alone == "const" and _lists(part["enum"], part["const"]):
            continue  # pydantic 2.9 writes both for a `Literal` of one value
        if name in _LIMITS or (name in _ALONE and name != alone):
            yield name, why
    rest = {name: value for name, value in part.items() if name != "type"}
    if "type" in part and not _is_within(rest, _names(part["type"])):
        yield "type", why


def _lists(options: list[Any], value: Any) -> bool:
    """Whether a value is one of the options, where `true` is not `1`."""
    written = (json.dumps(each, sort_keys=True) for each in options)
    return json.dumps(value, sort_keys=True) in written


def _is_within(schema: Any, names: set[str]) -> bool:
    """True if all that a schema lets pass is of these types, so far as that can be seen."""
    if not isinstance(schema, dict):
        return False
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values is not None:
        return all(_is_of(value, names) for value in values)
    if "type" in schema:
        return _names(schema["type"]) <= names
    options = next((schema[name] for name in ("allOf", "anyOf", "oneOf") if name in schema), None)
    return options is not None and all(_is_within(option, names) for option in options)


def _untyped(part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Limits of a type that the schema does not state."""
    shown = {kind for kind, shows in _SHOWS_TYPE.items() if any(name in part for name in shows)}
    if "type" not in part:
        for kind, limits in _BY_TYPE.items():
            ignored = limits & _FOR_ANOTHER_BACKEND if kind in shown else limits
            for name in sorted(part.keys() & ignored):
                yield name, f'it needs "type": "{kind}" beside it'
    if set(part.get("required", ())) - part.get("properties", {}).keys():
        yield "required", "it holds for properties that are listed, and names others"
    if "propertyNames" in part and part.get("additionalProperties") is False:
        yield "additionalProperties", "'propertyNames' lets others pass"


def _names(given: Any) -> set[str]:
    names = {given} if isinstance(given, str) else set(given)
    return names | {"integer"} if "number" in names else names


def _is_of(value: Any, names: set[str]) -> bool:
    match value:
        case None:
            kinds = {"null"}
        case bool():
            kinds = {"boolean"}
        case int():
            kinds = {"integer", "number"}
        case float():
            kinds = {"number"}
        case str():
            kinds = {"string"}
        case list():
            kinds = {"array"}
        case _:
            kinds = {"object"}
    return bool(kinds & names)

"""JSON Schemas as llguidance takes them, which is built into xllamacpp and writes the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["beyond_llguidance", "json_term"]

_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON on one line, as Python writes it. Free white space lets a small model fill its whole
budget with blanks.
"""

_UNKNOWN = frozenset(
    {
        "contains",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "if",
        "maxContains",
        "minContains",
        "not",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    }
)
"""Keywords of JSON Schema that llguidance does not take."""

_OF_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords whose value maps names to schemas."""

_OF_DATA = frozenset({"const", "enum", "default", "examples", "required"})
"""Keywords whose value is no schema."""

_COMBINING = frozenset({"allOf", "anyOf", "oneOf", "$ref", "$dynamicRef"})
_ABOUT_OTHER_KEYS = frozenset({"additionalProperties", "patternProperties", "minProperties"})


def json_term(schema: dict[str, Any] | bool) -> str:
    """The schema as a term of a grammar for llguidance.

    Objects get no keys beyond their `properties`, also where the schema allows others: what
    nobody asked for, a model would go on inventing until its budget is spent.
    """
    sent: dict[str, Any] = schema if isinstance(schema, dict) else {} if schema else {"not": {}}
    if not any(_may_join_keys(part) for _, part in _parts(sent, "")):
        sent = _closed(sent)
    return "%json " + msgspec.json.encode({"x-guidance": _LAYOUT, **sent}).decode()


def beyond_llguidance(schema: Any) -> list[str]:
    """The places of keywords that cannot be enforced, such as `/properties/a/uniqueItems`."""
    return sorted(
        f"{place}/{name}" for place, part in _parts(schema, "") for name in part.keys() & _UNKNOWN
    )


def _parts(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema and every schema in it, each with its place."""
    if isinstance(schema, list):
        for at, part in enumerate(schema):
            yield from _parts(part, f"{place}/{at}")
    elif isinstance(schema, dict):
        yield place, schema
        for name, value in schema.items():
            if name in _OF_SCHEMAS and isinstance(value, dict):
                for key, part in value.items():
                    yield from _parts(part, f"{place}/{name}/{key}")
            elif name not in _OF_DATA:
                yield from _parts(value, f"{place}/{name}")


def _may_join_keys(schema: dict[str, Any]) -> bool:
    """True if several schemas may describe one object: closed, one forbids the others' keys."""
    combining = schema.keys() & _COMBINING
    return "allOf" in combining or bool(combining and "properties" in schema) or len(combining) > 1


def _closed(schema: Any) -> Any:
    """A copy with all objects closed that say nothing about other keys."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _OF_SCHEMAS and isinstance(value, dict):
            result[name] = {key: _closed(part) for key, part in value.items()}
        else:
            result[name] = value if name in _OF_DATA else _closed(value)
    known = schema.get("properties")
    silent = not schema.keys() & _ABOUT_OTHER_KEYS
    if known and silent and known.keys() >= set(schema.get("required", ())):
        result["additionalProperties"] = False
    return result

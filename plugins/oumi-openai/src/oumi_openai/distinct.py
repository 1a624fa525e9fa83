"""Whether no value fits two of some schemas, so far as that can be seen. Pure."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

__all__ = ["are_distinct", "is_single"]

_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}


def are_distinct(schemas: list[Any]) -> bool:
    """True if it is certain that no value that is written fits two of the schemas.

    By their types, by their values, or by a property that is always written and has other values
    in each. References must be resolved.
    """
    return all(_differ(one, other) for one, other in combinations(schemas, 2))


def is_single(schema: Any) -> bool:
    """True if a schema has exactly one value."""
    values = _values(schema)
    return values is not None and len(values) == 1


def _differ(one: Any, other: Any) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    common = _types(one) & _types(other)
    if not common:
        return True
    ours, theirs = _values(one), _values(other)
    if ours is not None and theirs is not None:
        return not ours & theirs
    if common != {"object"}:
        return False
    tags, other_tags = _tags(one), _tags(other)
    return any(not tags[name] & other_tags[name] for name in tags.keys() & other_tags.keys())


def _types(schema: dict[str, Any]) -> set[str]:
    """The types that its values may have."""
    given = schema.get("type")
    if given is not None:
        names = {given} if isinstance(given, str) else set(given)
        return {"number" if name == "integer" else name for name in names}
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if values is not None:
        return {_type(value) for value in values}
    return {"object", "null", "boolean", "number", "string", "array"}


def _type(value: Any) -> str:
    if value is None:
        return "null"
    return _TYPES.get(type(value), "object")


def _values(schema: Any) -> set[str] | None:
    """All its values, as JSON; None if there is no list of them, or one that may hold others."""
    if not isinstance(schema, dict):
        return None
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if values is None:
        return None
    return {json.dumps(_plain(value), sort_keys=True) for value in values}


def _plain(value: Any) -> Any:
    # To JSON Schema 1.0 is 1.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _tags(schema: dict[str, Any]) -> dict[str, set[str]]:
    """The properties that are always written and have a list of values."""
    required = schema.get("required", ())
    return {
        name: values
        for name, one in schema.get("properties", {}).items()
        if (values := _values(one)) is not None and (name in required or len(values) == 1)
    }

"""The limits that OpenAI sets to a strict schema, and which of them one is over. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from oumi_openai.keywords import inside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["OverLimit", "over_limits"]

_DEPTH = 10
_PROPERTIES = 5_000
_ENUM_VALUES = 1_000
_NAME_CHARACTERS = 120_000
_LONG_ENUM = 250
_LONG_ENUM_CHARACTERS = 15_000


@attrs.frozen
class OverLimit:
    """A limit that a schema is over.

    Attributes:
        keyword: what there is too much of.
        pointer: where, in the schema that would be sent.
        reason: how much, and how much may be.
    """

    keyword: str
    pointer: str
    reason: str


@attrs.frozen
class _Found:
    """A schema inside of the whole.

    Attributes:
        schema: it.
        pointer: where it stands.
        depth: how many objects it stands in, itself included. Definitions start anew, since
            OpenAI does not say how it counts through references.
    """

    schema: Mapping[str, Any]
    pointer: str
    depth: int


def over_limits(schema: Mapping[str, Any]) -> OverLimit | None:
    """The first limit that a schema in strict form is over; None if it keeps to all."""
    properties = values = 0
    characters = sum(map(len, schema.get("$defs", ())))
    for found in _all(schema, "", 0):
        enum = found.schema.get("enum", ())
        lengths = [len(value) for value in enum if isinstance(value, str)]
        names = found.schema.get("properties", ())
        properties += len(names)
        values += len(enum)
        characters += sum(map(len, names)) + sum(lengths)
        if found.depth > _DEPTH:
            return OverLimit("properties", found.pointer, f"nests deeper than {_DEPTH} objects")
        if len(enum) > _LONG_ENUM and sum(lengths) > _LONG_ENUM_CHARACTERS:
            return OverLimit(
                "enum",
                found.pointer,
                f"more than {_LONG_ENUM} values may hold {_LONG_ENUM_CHARACTERS:,} characters in "
                f"all, these hold {sum(lengths):,}",
            )
    totals = (
        ("properties", properties, _PROPERTIES, "properties"),
        ("enum", values, _ENUM_VALUES, "values of enums"),
        ("properties", characters, _NAME_CHARACTERS, "characters in names and values of enums"),
    )
    for keyword, count, most, what in totals:
        if count > most:
            return OverLimit(keyword, "", f"the schema has {count:,} {what}, OpenAI takes {most:,}")
    return None


def _all(schema: Mapping[str, Any], pointer: str, depth: int) -> Iterator[_Found]:
    depth += schema.get("type") == "object"
    yield _Found(schema, pointer, depth)
    for name, one in schema.get("properties", {}).items():
        yield from _all(one, inside(pointer, "properties", name), depth)
    if "items" in schema:
        yield from _all(schema["items"], f"{pointer}/items", depth)
    for at, one in enumerate(schema.get("anyOf", ())):
        yield from _all(one, f"{pointer}/anyOf/{at}", depth)
    for name, one in schema.get("$defs", {}).items():
        yield from _all(one, f"{pointer}/$defs/{name}", 0)

"""The keywords of JSON Schema: what strict mode makes of each. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from oumi_openai.patterns import Unportable, portable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ASSERTIONS",
    "NotStrict",
    "bounds",
    "enum",
    "inside",
    "lookup",
    "notes",
    "refuse_beside",
    "refuse_everywhere",
    "refuse_for",
    "scalar",
    "types_of",
    "without_notes",
]


class NotStrict(Exception):
    """A keyword has no strict form; see `oumi_openai.strict_schema.Impossible`."""

    def __init__(self, keyword: str, pointer: str, reason: str) -> None:
        self.keyword = keyword
        self.pointer = pointer
        self.reason = reason
        super().__init__(f"{keyword} at {pointer}: {reason}")


_BY_TYPE = {
    "object": (
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
        "patternProperties",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
    ),
    "array": (
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "uniqueItems",
        "contains",
        "additionalItems",
        "unevaluatedItems",
    ),
    "string": ("minLength", "maxLength", "pattern"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
"""The keywords that say something about values of one type only."""

_EVERYWHERE = ("not", "if", "$dynamicRef", "$recursiveRef", "disallow", "extends")
"""Keywords that no schema may have."""

_REFUSED = {
    "object": (
        "patternProperties",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
    ),
    "record": ("propertyNames",),
    "array": ("prefixItems", "uniqueItems", "contains", "unevaluatedItems"),
}
"""Keywords that no schema of a type may have, except where their value asks for nothing."""

ASSERTIONS = frozenset(
    {"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", *_EVERYWHERE}
    | {name for names in _BY_TYPE.values() for name in names}
)
"""All keywords that can make a value not fit."""

_NOTES = ("title", "description")
_FORMATS = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
    }
)
_ANY_CHARACTER = r"[\s\S]"


def refuse_everywhere(schema: Mapping[str, Any], at: str, root: Any) -> None:
    """Refuse keywords that no schema may have.

    Raises:
        NotStrict: there is one.
    """
    for keyword in _EVERYWHERE:
        if keyword in schema:
            raise NotStrict(keyword, at, "strict mode does not know it; leave it out")
    if "$id" in schema and schema is not root:
        raise NotStrict("$id", at, "changes what references mean; leave it out")


def refuse_for(schema: Mapping[str, Any], kind: str, at: str) -> None:
    """Refuse keywords that a schema of this type may not have.

    Raises:
        NotStrict: there is one whose value asks for something.
    """
    for keyword in _REFUSED.get(kind, ()):
        if schema.get(keyword):
            raise NotStrict(keyword, at, "strict mode does not know it; leave it out")


def refuse_beside(schema: Mapping[str, Any], keyword: str, at: str) -> None:
    """Refuse what stands beside a keyword that strict mode wants alone.

    Raises:
        NotStrict: there is something.
    """
    others = sorted(schema.keys() & ASSERTIONS - {keyword})
    if others:
        raise NotStrict(
            keyword, at, f"strict mode does not join it with {others[0]!r}, which is beside it"
        )


def types_of(schema: Mapping[str, Any], at: str) -> list[str]:
    """The types that a schema names, or the one that its keywords speak of.

    Raises:
        NotStrict: it names none, and its keywords speak of several.
    """
    given = schema.get("type")
    if isinstance(given, str):
        return [given]
    if given:
        return list(given)
    spoken = [kind for kind, names in _BY_TYPE.items() if schema.keys() & set(names)]
    if len(spoken) != 1:
        raise NotStrict("type", at, "is not given; strict mode needs it")
    return spoken


def scalar(schema: Mapping[str, Any], kind: str, at: str) -> dict[str, Any]:
    """A schema of a type without parts.

    Raises:
        NotStrict: a bound or a pattern has no strict form.
    """
    if kind == "string":
        return {"type": kind, **_text(schema, at)}
    return {"type": kind, **bounds(schema, "number" if kind == "integer" else kind, at)}


def bounds(schema: Mapping[str, Any], kind: str, at: str) -> dict[str, Any]:
    """The bounds of a number or of an array's length.

    Raises:
        NotStrict: a bound is true or false, as in drafts before 6.
    """
    names = {"number": _BY_TYPE["number"], "array": ("minItems", "maxItems")}.get(kind, ())
    found = {name: schema[name] for name in names if name in schema}
    for name, value in found.items():
        if isinstance(value, bool):
            raise NotStrict(name, at, "is true or false; give the bound itself")
    return found


def _text(schema: Mapping[str, Any], at: str) -> dict[str, Any]:
    pattern = schema.get("pattern")
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    found: dict[str, Any] = {}
    if pattern is not None:
        if least or most is not None:
            keyword = "minLength" if least else "maxLength"
            raise NotStrict(keyword, at, "is beside a pattern; put the length into that")
        try:
            found["pattern"] = portable(pattern).searched
        except Unportable as error:
            raise NotStrict("pattern", at, f"it {error}") from error
    elif least or most is not None:
        # Strict mode knows no lengths, but patterns.
        count = f"{{{int(least)},{'' if most is None else int(most)}}}"
        found["pattern"] = f"^{_ANY_CHARACTER}{count}$"
    # Other formats are notes to a person, in JSON Schema as here; they are not checked.
    if schema.get("format") in _FORMATS:
        found["format"] = schema["format"]
    return found


def enum(values: list[Any]) -> dict[str, Any]:
    """The schema of some scalars."""
    types = sorted({_type(value) for value in values})
    return {"type": types[0] if len(types) == 1 else types, "enum": values}


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "integer" if isinstance(value, int) else "number"


def notes(schema: Mapping[str, Any]) -> dict[str, str]:
    """What a schema says to the model, not to the check."""
    return {name: schema[name] for name in _NOTES if schema.get(name)}


def without_notes(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The rest of it."""
    return {name: value for name, value in schema.items() if name not in _NOTES}


def inside(at: str, *tokens: str) -> str:
    """The JSON pointer of something inside of what `at` points to."""
    return "/".join([at, *(token.replace("~", "~0").replace("/", "~1") for token in tokens)])


def lookup(root: Any, target: str, at: str) -> Any:
    """What a reference leads to.

    Raises:
        NotStrict: it is no JSON pointer, or leads nowhere.
    """
    if target != "#" and not target.startswith("#/"):
        raise NotStrict("$ref", at, f"{target!r} is no JSON pointer, such as '#/$defs/name'")
    found = root
    for token in re.split("/", unquote(target))[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(name)] if isinstance(found, list) else found[name]
        except (LookupError, TypeError, ValueError):
            raise NotStrict("$ref", at, f"{target!r} leads nowhere") from None
    return found

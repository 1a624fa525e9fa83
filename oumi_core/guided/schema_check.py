"""Finds what is wrong with a JSON Schema before anything is sent.

A metaschema does not see all of it: a reference may lead nowhere, or in a circle. Such a schema
would fail every answer, after each has been paid for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_schema"]

_WHERE = "generation.guided_decoding.json"

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")

_ONE = ("not", "if", "then", "else")
_LISTS = ("allOf", "anyOf", "oneOf")
_MAPS = ("dependentSchemas", "dependencies")
"""The keywords, by shape, whose schemas are about the same value as the schema they stand in."""


def check_schema(schema: Any) -> None:
    """Refuse a schema that answers could not be checked against.

    Raises:
        ConfigError: it holds what JSON does not, is no schema of its draft, or has references
            that cannot be followed; says where.
    """
    try:
        places = _places(schema)
        cls = _draft(schema)
        _check_by_metaschema(cls, schema, "")
        faults = _Walk(cls, places).faults(schema)
    except RecursionError as error:
        raise ConfigError(f"{_WHERE}: the schema is nested too deeply") from error
    if faults:
        raise ConfigError(*faults)


def _places(schema: Any) -> dict[int, str]:
    """Where each object and list of the schema stands, by its identity."""
    places = {id(schema): ""}
    todo = [schema]
    while todo:
        node = todo.pop()
        place = places[id(node)]
        for key, value in node.items() if isinstance(node, dict) else _numbered(node):
            if isinstance(node, dict) and not isinstance(key, str):
                raise ConfigError(f"{_WHERE}: at {place or '/'}: the key {key!r} is no text")
            if isinstance(value, dict | list):
                if id(value) not in places:
                    places[id(value)] = f"{place}/{key}"
                    todo.append(value)
            elif not _is_json(value):
                kind = type(value).__name__
                raise ConfigError(f"{_WHERE}: at {place}/{key}: not a value of JSON, but a {kind}")
    return places


def _numbered(node: Any) -> Iterator[tuple[int, Any]]:
    return enumerate(node if isinstance(node, list) else ())


def _is_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)


def _draft(schema: Any) -> Any:
    """The validator class of the draft that a schema names; of 2020-12 if it names none."""
    # Import on use: jsonschema costs 90 ms, and most runs have no schema.
    from jsonschema.validators import Draft202012Validator, validator_for  # noqa: PLC0415

    if not isinstance(schema, dict) or "$schema" not in schema:
        return Draft202012Validator
    named = schema["$schema"]
    unknown: Any = None  # the stubs know no such default
    cls = validator_for(schema, default=unknown) if isinstance(named, str) else None
    if cls is None:
        raise ConfigError(f"{_WHERE}/$schema: no draft of JSON Schema that is known: {named!r}")
    return cls


def _check_by_metaschema(cls: Any, schema: Any, place: str) -> None:
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415 - import on use: costs 90 ms

    try:
        cls.check_schema(schema)
    except SchemaError as error:
        where = place + "/" + "/".join(str(part) for part in error.absolute_path)
        raise ConfigError(f"{_WHERE}: not a JSON Schema at {where}: {error.message}") from error
    except OverflowError as error:  # of `re`, which the metaschema's format `regex` asks
        raise ConfigError(f"{_WHERE}: not a JSON Schema: a pattern: {error}") from error


class _Walk:
    """Visits every schema within a schema, by its draft's keywords and along its references.

    By keywords, for a property may be named `$ref`, and a constant may look like a reference.
    """

    def __init__(self, cls: Any, places: dict[int, str]) -> None:
        from referencing.jsonschema import specification_with  # noqa: PLC0415 - import on use

        self._cls = cls
        self._places = places
        self._specification = specification_with(cls.ID_OF(cls.META_SCHEMA))
        self._faults: list[str] = []
        self._leads: dict[int, list[int]] = {}
        self._targets: list[tuple[Any, Any]] = []

    def faults(self, root: Any) -> list[str]:
        """What is wrong, one line each."""
        from referencing import Registry  # noqa: PLC0415 - import on use

        registry: Registry[Any] = Registry()  # empty, so that nothing is fetched
        self._visit(root, registry.resolver_with_root(self._specification.create_resource(root)))
        while self._targets:
            target, resolver = self._targets.pop()
            if isinstance(target, dict) and id(target) not in self._leads:
                # A reference leads to where no keyword does: no metaschema has seen that.
                _check_by_metaschema(self._cls, target, self._places[id(target)])
                self._visit(target, resolver)
        self._faults.extend(self._circles())
        return self._faults

    def _visit(self, root: Any, resolver: Any) -> None:
        todo = [(root, resolver)]
        while todo:
            schema, resolver = todo.pop()
            if not isinstance(schema, dict) or id(schema) in self._leads:
                continue
            place = self._places[id(schema)] or "/"
            self._leads[id(schema)] = [id(part) for part in _about_the_same_value(schema)]
            self._follow(schema, resolver, place)
            parts = self._specification.create_resource(schema).subresources()
            todo.extend((part.contents, resolver.in_subresource(part)) for part in parts)

    def _follow(self, schema: dict[str, Any], resolver: Any, place: str) -> None:
        from referencing.exceptions import Unresolvable  # noqa: PLC0415 - import on use

        for keyword in _REFERENCES:
            target = schema.get(keyword)
            if not isinstance(target, str) or keyword not in self._cls.VALIDATORS:
                continue
            what = f"{_WHERE}: {keyword} at {place} leads to {target!r}"
            try:
                found = resolver.lookup(target)
            except (Unresolvable, ValueError):  # ValueError: a name where a list needs a number
                self._faults.append(f"{what}, not in the schema")
                continue
            if not isinstance(found.contents, dict | bool):
                self._faults.append(f"{what}, which is no schema")
                continue
            self._leads[id(schema)].append(id(found.contents))
            self._targets.append((found.contents, found.resolver))

    def _circles(self) -> Iterator[str]:
        """Schemas that come back to themselves without a step into the value: no check ends."""
        done: set[int] = set()
        for start in self._leads:
            path: list[int] = []
            todo = [(start, False)]
            while todo:
                node, left = todo.pop()
                if left:
                    done.add(path.pop())
                elif node in path:
                    place = self._places[node] or "/"
                    yield f"{_WHERE}: the schema at {place} leads back to itself, so no check ends"
                    return
                elif node not in done:
                    path.append(node)
                    todo.append((node, True))
                    todo.extend((lead, False) for lead in self._leads.get(node, ()))


def _about_the_same_value(schema: dict[str, Any]) -> Iterator[Any]:
    # By type: where a draft does not know the keyword, its value may be anything.
    yield from (schema[keyword] for keyword in _ONE if keyword in schema)
    for keyword in _LISTS:
        parts = schema.get(keyword)
        yield from parts if isinstance(parts, list) else ()
    for keyword in _MAPS:
        parts = schema.get(keyword)
        yield from parts.values() if isinstance(parts, dict) else ()

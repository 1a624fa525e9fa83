"""Checks values against a JSON Schema, with patterns that cannot freeze the process."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from oumi_core.guided.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jsonschema.exceptions import ValidationError

__all__ = ["faults_under"]


def faults_under(
    schema: dict[str, Any] | bool,
) -> Callable[[Any], Iterator[ValidationError]]:
    """A function that finds what is wrong with a value; made once, called for every row.

    It raises `UndecidedError` where a pattern cannot be matched in reasonable time.
    """
    # Import on use: jsonschema costs 90 ms, and most runs have no schema.
    from jsonschema.validators import extend, validator_for  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    cls: Any = extend(validator_for(schema), {"pattern": _pattern})  # type: ignore[no-untyped-call] # by its stubs
    if isinstance(schema, dict):
        # The class is chosen; where the schema named it again, jsonschema would take its own.
        schema = {key: value for key, value in schema.items() if key != "$schema"}
    # An empty registry: jsonschema would otherwise fetch a `$ref` from the network.
    registry: Registry[Any] = Registry()
    find: Callable[[Any], Iterator[ValidationError]] = cls(schema, registry=registry).iter_errors
    of_names = tuple(_patterns_of_names(schema))
    if not of_names:
        return find

    def find_if_names_can_be_matched(value: Any) -> Iterator[ValidationError]:
        for name in _names(value):
            for pattern in of_names:
                _try_out(pattern, name)
        return find(value)

    return find_if_names_can_be_matched


_compiled = functools.lru_cache(maxsize=1024)(Pattern)


def _pattern(_validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """The keyword `pattern`, in jsonschema's words."""
    from jsonschema.exceptions import ValidationError  # noqa: PLC0415 - import on use

    if isinstance(value, str) and not _compiled(pattern).search(value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


@functools.lru_cache(maxsize=4096)
def _try_out(pattern: str, name: str) -> None:
    """See to it that jsonschema itself can match a property's name.

    Three of its keywords do so, and know of each other; names are few and come again in each row.
    """
    compiled = _compiled(pattern)
    if not compiled.is_safe(name):
        compiled.try_out(name)


def _patterns_of_names(schema: Any) -> Iterator[str]:
    for node in _objects(schema):
        patterns = node.get("patternProperties")
        if isinstance(patterns, dict):
            yield from patterns


def _names(value: Any) -> Iterator[str]:
    for node in _objects(value):
        yield from node


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The value's objects at any depth, without recursion."""
    todo = [value]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)

"""The base of all params classes: every field checked at once, nothing shared with the caller."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

    from oumi_core.configs.checks import Check

__all__ = ["CHECK", "Field", "Params", "own", "param", "params_fields"]

_SCALARS = frozenset({type(None), bool, int, float, str})

CHECK = "oumi_core.check"
"""The key of a field's metadata that holds its `Check`."""


def own(value: Any) -> Any:
    """A copy that the caller cannot change: containers all the way down, a path as its text."""
    if type(value) in _SCALARS:  # asked first: asking an ABC takes ten times as long
        return value
    if isinstance(value, Mapping):
        return {key: own(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [own(element) for element in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def param(
    check: Check,
    default: Any = attrs.NOTHING,
    *,
    factory: Callable[[], Any] | None = None,
    hidden: bool = False,
) -> Any:
    """Declare a field of a params class.

    Args:
        check: what the field accepts.
        default: its default.
        factory: makes the default, if that is a container.
        hidden: it appears in no repr and in no dump.
    """
    return attrs.field(
        default=attrs.Factory(factory) if factory else default,
        converter=own,
        metadata={CHECK: check},
        repr=not hidden,
    )


@attrs.frozen
class Field:
    """A field of a params class, as loading, dumping and the schema see it.

    Attributes:
        name: its name in the constructor and in YAML.
        attribute: the name of the attribute that holds it.
        check: what it accepts.
        default: its default, `attrs.NOTHING` if it must be given.
        hidden: it appears in no dump.
    """

    name: str
    attribute: str
    check: Check
    default: Any
    hidden: bool


def params_fields(params: type[Any]) -> Mapping[str, Field]:
    """The fields of a params class by the name that users write, in order."""
    return _fields_of(params)  # type: ignore[arg-type] # mypy takes such a class as unhashable


@functools.cache
def _fields_of(params: type[Any]) -> Mapping[str, Field]:
    fields = [
        Field(
            name=field.alias or field.name,
            attribute=field.name,
            check=field.metadata[CHECK],
            default=(
                field.default.factory()
                if isinstance(field.default, attrs.Factory)  # type: ignore[arg-type] # a class
                else field.default
            ),
            hidden=not field.repr,
        )
        for field in attrs.fields(params)
    ]
    return {field.name: field for field in fields}


@attrs.frozen
class Params:
    """A section of a config: frozen, checked when it is made, a value of its own.

    Attributes:
        synonyms: for a field with several names, each name and the others: an override by one
            name replaces what a file says by another.

    Raises:
        ConfigError: lists every fault of the section, one a line, each starting with the field.
    """

    synonyms: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __attrs_post_init__(self) -> None:
        faults: list[str] = []
        broken: set[str] = set()
        for field in params_fields(type(self)).values():
            value = getattr(self, field.attribute)
            if value is field.default:
                continue
            for place, message in field.check.find(value):
                broken.add(field.name)
                faults.append(f"{field.name}{place}: {message}")
        faults.extend(self._relations(broken))
        if faults:
            raise ConfigError(*faults, source=type(self).__name__)

    def _relations(
        self,
        broken: AbstractSet[str],  # noqa: ARG002 - for the classes that override it
    ) -> Iterator[str]:
        """The faults between fields, each starting with a field's name.

        Args:
            broken: the fields that have a fault of their own, not to be looked at.
        """
        yield from ()

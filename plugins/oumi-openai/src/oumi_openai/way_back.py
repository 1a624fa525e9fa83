"""The way back: from an answer in the strict form to one in the form that was asked for.

A step takes a decoded value and gives the value that it stands for. Steps change only what they
know the form of: an answer that does not fit the strict form comes out as it went in, and is then
found at fault by the check against the original schema.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["KEY", "VALUE", "Field", "Step", "each", "entries", "record", "same", "union"]

Step = Callable[[Any], Any]

KEY, VALUE = "key", "value"
"""The properties of an entry of a map."""


def same(value: Any) -> Any:
    """The step that changes nothing."""
    return value


@attrs.frozen
class Field:
    """A property of a record.

    Attributes:
        step: what is done with its value.
        drops_null: null stands for its absence.
    """

    step: Step
    drops_null: bool = False


def record(fields: Mapping[str, Field]) -> Step:
    """The step for an object with known properties."""
    if all(field.step is same and not field.drops_null for field in fields.values()):
        return same
    unknown = Field(same)

    def back(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: field.step(entry)
            for name, entry in value.items()
            for field in (fields.get(name, unknown),)
            if not (field.drops_null and entry is None)
        }

    return back


def each(step: Step) -> Step:
    """The step for an array."""
    if step is same:
        return same
    return lambda value: [step(item) for item in value] if isinstance(value, list) else value


def entries(step: Step) -> Step:
    """The step for a map that was sent as a list of entries."""

    def back(value: Any) -> Any:
        if not isinstance(value, list) or not all(map(_is_entry, value)):
            return value
        return {entry[KEY]: step(entry[VALUE]) for entry in value}

    return back


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {KEY, VALUE} and isinstance(value[KEY], str)


def union(steps: Sequence[Step], fits: Callable[[int, Any], bool]) -> Step:
    """The step for a value of one of several forms: that of the first form that it fits.

    Args:
        steps: one a form.
        fits: whether a value fits the form of that number.
    """
    if all(step is same for step in steps):
        return same

    def back(value: Any) -> Any:
        for at, step in enumerate(steps):
            if fits(at, value):
                return step(value)
        return value

    return back

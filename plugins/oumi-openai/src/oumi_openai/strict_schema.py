"""A JSON Schema in the form that OpenAI's strict mode takes, and the way back from its answers.

In that form the root is an object, each object lists all its properties as required and admits no
others, and only some keywords exist. So:

- an optional property becomes nullable, and a null in its place is dropped on the way back;
- a map becomes a list of entries, and is a map again on the way back;
- another root than an object is wrapped in one, and unwrapped on the way back;
- what only narrows the answers is done without further notice: properties that the schema would
  let pass unnamed are not written;
- what would need more than that is impossible, and the keyword that is in the way is named.

An answer that fits the strict form fits the original after the way back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from oumi_core.errors import DataError
from oumi_core.wire import decode_json

from oumi_openai.limits import over_limits
from oumi_openai.translation import NotStrict, Translation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_openai.way_back import Step

__all__ = ["Fit", "Impossible", "StrictForm", "strict_form", "wrapped"]

WRAPPER = "value"
"""The property of a wrapped root."""


class Fit(StrEnum):
    """How well a strict form says what the original says."""

    EXACT = "exact"
    """Every answer in it fits the original, at most unwrapped or with lists made maps again."""
    WIDENED = "widened"
    """It lets nulls pass that the original does not; the way back drops them."""


@attrs.frozen
class StrictForm:
    """A schema that OpenAI's strict mode takes.

    Attributes:
        schema: what is sent.
        fit: how well it says what the original says.
        is_wrapped: the answer stands in the property `value` of an object.
        back: from a decoded answer to what was asked for; None if they are the same.
    """

    schema: Mapping[str, Any]
    fit: Fit
    is_wrapped: bool = False
    back: Step | None = None

    def narrowed(self, text: str) -> str:
        """An answer's text in the form that was asked for.

        A text that is no JSON, or not in the strict form, is given back as it is.
        """
        if self.back is None:
            return text
        try:
            value = decode_json(text)
            if self.is_wrapped:
                value = value[WRAPPER]
            return msgspec.json.encode(self.back(value)).decode()
        except (DataError, LookupError, TypeError, RecursionError):
            return text


@attrs.frozen
class Impossible:
    """A schema has no strict form.

    Attributes:
        keyword: what is in the way.
        pointer: where it stands: the JSON pointer of the schema that holds it.
        reason: why, and what to do.
    """

    keyword: str
    pointer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.keyword!r} at {self.pointer or '/'}: {self.reason}"


def strict_form(schema: Mapping[str, Any] | bool) -> StrictForm | Impossible:
    """The strict form of a schema, or what is in the way.

    Args:
        schema: a valid JSON Schema whose references stay inside it. It is not changed.
    """
    translation = Translation(schema)
    try:
        root, step = translation.root()
    except NotStrict as found:
        return Impossible(found.keyword, found.pointer, found.reason)
    is_wrapped = root.get("type") != "object"
    sent = wrapped(root) if is_wrapped else dict(root)
    if translation.definitions:
        sent["$defs"] = translation.definitions
    fault = over_limits(sent)
    if fault is not None:
        return Impossible(fault.keyword, fault.pointer, fault.reason)
    translation.finish(sent)
    changes = translation.changes or is_wrapped
    return StrictForm(
        sent,
        Fit.WIDENED if translation.widened else Fit.EXACT,
        is_wrapped=is_wrapped,
        back=step if changes else None,
    )


def wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object with the one property `value`."""
    return {
        "type": "object",
        "properties": {WRAPPER: schema},
        "required": [WRAPPER],
        "additionalProperties": False,
    }

"""Constraints as OpenAI takes them: each is a strict schema, with a way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError, DataError
from oumi_core.guided.constraint import Choice, JsonSchema, Regex
from oumi_core.wire import decode_json, response_format

from oumi_openai.keywords import enum
from oumi_openai.limits import over_limits
from oumi_openai.patterns import Unportable, portable
from oumi_openai.strict_schema import WRAPPER, Impossible, strict_form, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oumi_core.guided.constraint import Constraint
    from oumi_core.types.completion import Completion
    from oumi_core.types.conversation import Message

__all__ = ["Written", "write"]

_WHERE = "generation.guided_decoding"
_ELSE = "change it, or choose another engine"


@attrs.frozen
class Written:
    """A constraint as it is sent.

    Attributes:
        fields: what goes into the body.
        back: from an answer's text to what the constraint means; None if they are the same.
    """

    fields: Mapping[str, Any]
    back: Callable[[str], str] | None

    def narrowed(self, completion: Completion) -> Completion:
        """An answer to this constraint as the user asked for it."""
        if self.back is None:
            return completion
        return attrs.evolve(
            completion,
            message=self._narrowed(completion.message),
            alternatives=tuple(map(self._narrowed, completion.alternatives)),
        )

    def _narrowed(self, message: Message) -> Message:
        if self.back is None or not isinstance(message.content, str):
            return message
        return attrs.evolve(message, content=self.back(message.content))


def write(constraint: Constraint) -> Written:
    """A constraint as OpenAI takes it.

    Raises:
        ConfigError: OpenAI cannot hold it; says what is in the way.
    """
    if isinstance(constraint, JsonSchema):
        return _json(constraint)
    if isinstance(constraint, Choice):
        return _wrapped("choice", enum(list(constraint.options)))
    if isinstance(constraint, Regex):
        return _regex(constraint)
    raise ConfigError(f"{_WHERE}.{constraint.kind}: OpenAI takes no {constraint.kind}; {_ELSE}")


def _json(constraint: JsonSchema) -> Written:
    form = strict_form(constraint.schema)
    if isinstance(form, Impossible):
        raise ConfigError(
            f"{_WHERE}.json: OpenAI's strict mode cannot hold this schema: {form}; {_ELSE}"
        )
    back = form.narrowed if form.back is not None else None
    return Written(_fields(constraint.name, form.schema), back)


def _regex(constraint: Regex) -> Written:
    try:
        pattern = portable(constraint.pattern).whole
    except Unportable as error:
        raise ConfigError(
            f"{_WHERE}.regex: OpenAI cannot be asked for this pattern: it {error}; {_ELSE}"
        ) from error
    return _wrapped("regex", {"type": "string", "pattern": pattern})


def _wrapped(kind: str, schema: dict[str, Any]) -> Written:
    whole = wrapped(schema)
    fault = over_limits(whole)
    if fault is not None:
        raise ConfigError(f"{_WHERE}.{kind}: {fault.reason}; {_ELSE}")
    return Written(_fields(kind, whole), _text)


def _fields(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return response_format(JsonSchema(dict(schema), name, strict=True))


def _text(answer: str) -> str:
    """The text out of `{"value": text}`; the answer itself if it is something else."""
    try:
        value = decode_json(answer)
    except DataError:
        return answer
    text = value.get(WRAPPER) if isinstance(value, dict) else None
    return text if isinstance(text, str) else answer

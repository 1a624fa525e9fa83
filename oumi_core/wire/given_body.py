"""Rows that bring the body of their own request, as a line of an OpenAI batch file gives it.

Such a row has a field `openai_body`: the body without what the conversation says as well. A
provider's batch sends the body as it was given; everywhere else what it asks for becomes the row's
own generation parameters, over those of the config.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from oumi_core.configs.guided_decoding_params import GuidedDecodingParams
from oumi_core.errors import ConfigError, DataError
from oumi_core.types.conversation import Conversation
from oumi_core.types.reading import shown
from oumi_core.wire.dialect import OPENAI

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oumi_core.configs import GenerationParams

__all__ = [
    "FORMAT",
    "GIVEN",
    "brings_body",
    "given_body",
    "given_generation",
    "given_names",
    "given_params",
    "row_of",
]

GIVEN: Final = "openai_body"
"""The field of a row that holds its body."""

_SAID: Final = ("messages", "tools")
"""Fields of a body that a conversation has, too."""

_NO_PARAMS: Final = frozenset({*_SAID, "model", "stream"})
_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_FIELDS: Final = {name: field for field, name in OPENAI.generation.items()} | dict.fromkeys(
    _LIMITS, "max_new_tokens"
)
"""The fields of a body that are generation parameters, and what these are called here."""

FORMAT: Final = "response_format"
"""What a body asks the form of answers by."""
_NATIVE: Final = "native"


def row_of(body: Mapping[str, Any], name: str) -> Conversation:
    """A row that brings a body.

    Args:
        body: the body; whole.
        name: becomes the conversation's id.

    Raises:
        DataError: its messages or tools are not ones that a conversation can hold.
    """
    said = {key: body[key] for key in _SAID if key in body}
    row = Conversation.from_dict({**said, "conversation_id": name})
    written = _said_by(row)
    # What the conversation would write in another way is kept as it was given.
    own = {key: value for key, value in body.items() if key not in said or written[key] != value}
    row.extra[GIVEN] = own
    return row


def brings_body(row: Conversation) -> bool:
    """True if a row brings a body."""
    return isinstance(row.extra.get(GIVEN), Mapping)


def given_body(row: Conversation) -> dict[str, Any] | None:
    """The whole body that a row brings; None if it brings none."""
    return {**_said_by(row), **row.extra[GIVEN]} if brings_body(row) else None


def _said_by(row: Conversation) -> dict[str, Any]:
    said: dict[str, Any] = {"messages": [message.to_dict() for message in row.messages]}
    if row.tools is not None:
        said["tools"] = [tool.to_dict() for tool in row.tools]
    return said


def given_params(row: Conversation) -> dict[str, Any] | None:
    """What a row's own body asks for beside its messages, its tools and its model.

    A null asks for nothing. None if the row brings no body.
    """
    if not brings_body(row):
        return None
    return {k: v for k, v in row.extra[GIVEN].items() if k not in _NO_PARAMS and v is not None}


def given_names(params: Mapping[str, Any], fields: Iterable[str]) -> list[str]:
    """The names that fields of `GenerationParams` have in a body that asks for these params."""
    wanted = set(fields)
    return [
        f"body.{name}"
        for name in params
        if name != FORMAT and _FIELDS.get(name, "extra_body") in wanted
    ]


def given_generation(
    params: Mapping[str, Any], base: GenerationParams, *, sends_rest: bool
) -> GenerationParams:
    """What a body asks for, as generation parameters.

    Args:
        params: as `given_params` gives it.
        base: holds for what it does not ask for.
        sends_rest: True if the engine sends `extra_body`. It is then asked for the form of answers
            in the very words of the body, and core only checks it.

    Raises:
        DataError: something in it cannot be; each fault begins with its name in the body.
    """
    given: dict[str, Any] = {}
    names: dict[str, str] = {}
    rest = dict(params)
    for name in [name for name in params if name in _FIELDS]:
        field = _FIELDS[name]
        if field in given:
            raise DataError(f"body.{name}: stands beside {names[field]}; give one of them")
        value = rest.pop(name)
        given[field] = [value] if name == "stop" and isinstance(value, str) else value
        names[field] = name
    try:
        guided = _guided(rest.get(FORMAT), base.guided_decoding)
        if guided is not None:
            given["guided_decoding"] = guided
        if not sends_rest or guided is None or guided.backend != _NATIVE:
            rest.pop(FORMAT, None)
        if rest:
            given["extra_body"] = {**base.extra_body, **rest}
        return attrs.evolve(base, **given)
    except ConfigError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(*(_renamed(fault, names) for fault in error.faults)) from error


def _guided(wanted: Any, base: GuidedDecodingParams | None) -> GuidedDecodingParams | None:
    """What a `response_format` asks for."""
    if wanted is None:
        return None
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    chosen: dict[str, Any] = {}
    if base is not None:
        chosen = {"backend": base.backend, "max_reasks": base.max_reasks}
    match kind:
        case "text":
            return None
        case "json_object":
            return GuidedDecodingParams(json={"type": "object"}, **chosen)
        case "json_schema":
            named = wanted.get(kind)
            schema = named.get("schema") if isinstance(named, Mapping) else None
            if not isinstance(named, Mapping) or not isinstance(schema, Mapping | bool):
                raise DataError(f"body.{FORMAT}.json_schema.schema: missing, or no schema")
            # A schema that is true or false is taken as JSON text only.
            json = str(schema).lower() if isinstance(schema, bool) else schema
            return GuidedDecodingParams(json=json, strict=bool(named.get("strict")), **chosen)
        case _:
            raise DataError(
                f"body.{FORMAT}.type: {shown(kind)} is not text, json_object or json_schema"
            )


def _renamed(fault: str, names: Mapping[str, str]) -> str:
    """A fault of our field as one of the body's."""
    field = fault.partition(":")[0].partition("[")[0].partition(".")[0]
    name = names.get(field)
    return f"body.{FORMAT}: {fault}" if name is None else f"body.{name}{fault[len(field) :]}"

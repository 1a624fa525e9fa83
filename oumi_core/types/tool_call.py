"""Tools that a model may call, and its calls of them, in the chat-completions format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from oumi_core.errors import DataError
from oumi_core.types.reading import as_mapping, decode_json, encode_json, take

__all__ = ["FunctionCall", "FunctionDefinition", "ToolCall", "ToolDefinition"]


def _arguments_text(value: Any) -> str:
    """Arguments as JSON text; some servers send the parsed value instead."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping | list):
        return encode_json(value, "arguments").decode()
    raise DataError(f"arguments: expected JSON as a text, got {type(value).__name__}")


def _take_function(rest: dict[str, Any]) -> dict[str, Any]:
    """Remove `function` from a call or a definition; a copy, its name checked."""
    function = rest.pop("function", None)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError("function: expected an object with a name")
    return dict(function)


@attrs.frozen
class FunctionCall:
    """The function that a model wants called.

    Attributes:
        name: the function's name.
        arguments: its arguments as JSON text, as the model wrote it: it may be malformed. A
            mapping or list is written as JSON.
        extra: fields of the source that have no place here, kept for the way back.
    """

    name: str
    arguments: str = attrs.field(default="", converter=_arguments_text, repr=False)
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The call in the chat-completions format."""
        return {"name": self.name, "arguments": self.arguments, **self.extra}


@attrs.frozen
class ToolCall:
    """One call that a model asks for.

    Attributes:
        id: the name by which the tool's answer refers to this call; empty if it has none.
        function: what to call.
        type: `function`, the only type of the format.
        extra: fields of the source that have no place here, kept for the way back.
    """

    id: str
    function: FunctionCall
    type: str = "function"
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)

    def get_arguments_dict(self) -> dict[str, Any]:
        """The arguments, parsed; empty if there are none.

        Raises:
            DataError: they are not JSON, or not an object.
        """
        place = f"arguments of tool call {self.id!r} ({self.function.name})"
        try:
            value = decode_json(self.function.arguments or "{}")
        except DataError as error:
            raise DataError(*(f"{place}: {fault}" for fault in error.faults)) from error
        if not isinstance(value, dict):
            raise DataError(f"{place}: expected an object, got {type(value).__name__}")
        return value

    def to_dict(self) -> dict[str, Any]:
        """The call in the chat-completions format."""
        return {"id": self.id, "type": self.type, "function": self.function.to_dict(), **self.extra}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | ToolCall) -> ToolCall:
        """Read the chat-completions format.

        Args:
            data: the call; one that is a `ToolCall` already is returned as it is.

        Raises:
            DataError: a field is missing or of another type; names the field.
        """
        if isinstance(data, ToolCall):
            return data
        rest = as_mapping(data, "a function")
        inner = _take_function(rest)
        return cls(
            id=take(rest, "id", str) or "",
            type=take(rest, "type", str) or "function",
            function=FunctionCall(inner.pop("name"), inner.pop("arguments", None), inner),
            extra=rest,
        )


@attrs.frozen
class FunctionDefinition:
    """A function that a model may call.

    Attributes:
        name: the name that calls use.
        description: tells the model when to call it; None if there is nothing to say.
        parameters: the JSON Schema of its arguments; None if it takes none.
        strict: True if arguments must fit the schema exactly, where the provider can see to it.
        extra: fields of the source that have no place here, kept for the way back.
    """

    name: str
    description: str | None = attrs.field(default=None, repr=False)
    parameters: dict[str, Any] | None = attrs.field(default=None, repr=False)
    strict: bool | None = None
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The definition in the chat-completions format."""
        fields = {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": self.strict,
        }
        return {key: value for key, value in fields.items() if value is not None} | self.extra


@attrs.frozen
class ToolDefinition:
    """A tool in the chat-completions format.

    Attributes:
        function: what it calls.
        type: `function`, the only type of the format.
        extra: fields of the source that have no place here, kept for the way back.
    """

    function: FunctionDefinition
    type: str = "function"
    extra: dict[str, Any] = attrs.field(factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The tool in the chat-completions format."""
        return {"type": self.type, "function": self.function.to_dict(), **self.extra}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | ToolDefinition) -> ToolDefinition:
        """Read the chat-completions format.

        Args:
            data: the tool; one that is a `ToolDefinition` already is returned as it is.

        Raises:
            DataError: there is no function, it has no name, or a field is of another type.
        """
        if isinstance(data, ToolDefinition):
            return data
        rest = as_mapping(data, "a function")
        inner = _take_function(rest)
        definition = FunctionDefinition(
            name=inner.pop("name"),
            description=take(inner, "description", str),
            parameters=take(inner, "parameters", dict),
            strict=take(inner, "strict", bool),
            extra=inner,
        )
        return cls(definition, take(rest, "type", str) or "function", rest)

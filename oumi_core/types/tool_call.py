"""Tools that a model may call, and its calls of them, in the chat-completions format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from oumi_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FunctionCall", "FunctionDefinition", "ToolCall", "ToolDefinition"]


def _arguments_text(value: str | Mapping[str, Any] | list[Any]) -> str:
    """Arguments as JSON text; some servers send the parsed value instead."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@attrs.frozen
class FunctionCall:
    """The function that a model wants called.

    Attributes:
        name: the function's name.
        arguments: its arguments as JSON text, as the model wrote it: it may be malformed.
        extra: fields of the source that have no place here, kept for the way back.
    """

    name: str
    arguments: str = attrs.field(default="", converter=_arguments_text)
    extra: dict[str, Any] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The call in the chat-completions format."""
        return {"name": self.name, "arguments": self.arguments, **self.extra}


@attrs.frozen
class ToolCall:
    """One call that a model asks for.

    Attributes:
        id: the name by which the tool's answer refers to this call.
        function: what to call.
        type: `function`, the only type of the format.
        extra: fields of the source that have no place here, kept for the way back.
    """

    id: str
    function: FunctionCall
    type: str = "function"
    extra: dict[str, Any] = attrs.field(factory=dict)

    def get_arguments_dict(self) -> dict[str, Any]:
        """The arguments, parsed.

        Raises:
            DataError: they are not JSON, or not an object.
        """
        try:
            value = msgspec.json.decode(self.function.arguments or "{}")
        except msgspec.DecodeError as error:
            raise DataError(
                f"arguments of tool call {self.id!r} ({self.function.name}) are not JSON: {error}"
            ) from error
        if not isinstance(value, dict):
            raise DataError(
                f"arguments of tool call {self.id!r} ({self.function.name}): "
                f"expected an object, got {type(value).__name__}"
            )
        return value

    def to_dict(self) -> dict[str, Any]:
        """The call in the chat-completions format."""
        return {"id": self.id, "type": self.type, "function": self.function.to_dict(), **self.extra}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolCall:
        """Read the chat-completions format.

        Raises:
            DataError: a field is missing or of another type.
        """
        rest = dict(data)
        function = rest.pop("function", None)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise DataError("function: expected an object with a name")
        inner = dict(function)
        return cls(
            id=str(rest.pop("id", None) or ""),
            type=str(rest.pop("type", None) or "function"),
            function=FunctionCall(inner.pop("name"), inner.pop("arguments", None) or "", inner),
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
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The definition in the chat-completions format."""
        fields = attrs.asdict(
            self,
            recurse=False,
            filter=lambda field, value: field.name != "extra" and value is not None,
        )
        return {**fields, **self.extra}


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
    extra: dict[str, Any] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The tool in the chat-completions format."""
        return {"type": self.type, "function": self.function.to_dict(), **self.extra}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ToolDefinition:
        """Read the chat-completions format.

        Raises:
            DataError: there is no function, or it has no name.
        """
        rest = dict(data)
        function = rest.pop("function", None)
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise DataError("function: expected an object with a name")
        inner = dict(function)
        definition = FunctionDefinition(
            name=inner.pop("name"),
            description=inner.pop("description", None),
            parameters=inner.pop("parameters", None),
            strict=inner.pop("strict", None),
            extra=inner,
        )
        return cls(definition, str(rest.pop("type", None) or "function"), rest)

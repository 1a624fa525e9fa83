"""Conversations: messages in order, with a name, metadata and tools, in Oumi's format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.errors import DataError
from oumi_core.types.content import ContentItem, ContentItemCounts, ContentType
from oumi_core.types.message import Message, Role
from oumi_core.types.reading import as_mapping, decode_json, encode_json, read_each, take
from oumi_core.types.tool_call import ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ContentItem",
    "ContentItemCounts",
    "ContentType",
    "Conversation",
    "Message",
    "Role",
    "Type",
]

Type = ContentType
"""The name that Oumi gives it."""


def _tool(value: Any) -> ToolDefinition:
    if isinstance(value, ToolDefinition) or not callable(value):
        return ToolDefinition.from_dict(value)
    # Import on use: few tools are functions, and reading their signatures takes `inspect`.
    from oumi_core.types.tool_from_function import tool_from_function  # noqa: PLC0415

    return tool_from_function(value)


_new = object.__new__


@attrs.define(repr=False)
class Conversation:
    """Messages in order, with a name, metadata and tools.

    The one type here that can be changed in place, as Oumi's can: programs fill in `metadata` and
    append to `messages`. What is set later is taken as it is: dicts and functions are made into
    messages and tools at construction only. The engines and runs never change one they were given.

    Attributes:
        messages: the turns, oldest first; messages or their dicts.
        conversation_id: names the conversation; None if it has no name.
        metadata: anything of the user's. Runs add `usage` and `finish_reason` to their results'.
        tools: the tools that the model may call: definitions, their dicts, or documented
            functions; None if there are none.
        extra: fields of the source that have no place here, kept for the way back.

    Raises:
        DataError: a message, a tool or the metadata is wrong; names its path.
    """

    messages: list[Message]
    conversation_id: str | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)
    tools: list[ToolDefinition] | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)

    # Not as converters of the fields: those would also run at each assignment, for which attrs
    # makes every field slower to set, measured at 0.6 us more for a conversation.
    def __attrs_post_init__(self) -> None:
        self.messages = read_each("messages", Message.from_dict, self.messages)
        if not isinstance(self.metadata, (dict, Mapping)):
            raise DataError(f"metadata: expected an object, got {type(self.metadata).__name__}")
        # A copy: conversations made from one mapping must not share what is added later.
        self.metadata = dict(self.metadata)
        if self.tools is not None:
            self.tools = read_each("tools", _tool, self.tools)

    def __getitem__(self, at: int) -> Message:
        return self.messages[at]

    def __repr__(self) -> str:
        return f"Conversation(id={self.conversation_id!r}, {len(self.messages)} messages)"

    def __str__(self) -> str:
        """The conversation for a person, a turn a line."""
        return "\n".join(str(message) for message in self.messages)

    def first_message(self, role: Role | None = None) -> Message | None:
        """The first message (of that role); None if there is none."""
        return next(iter(self.filter_messages(role=role)), None)

    def last_message(self, role: Role | None = None) -> Message | None:
        """The last message (of that role); None if there is none."""
        return next(iter(self.filter_messages(role=role)[::-1]), None)

    def filter_messages(
        self, *, role: Role | None = None, filter_fn: Callable[[Message], bool] | None = None
    ) -> list[Message]:
        """The messages of that role for which `filter_fn` is true, in order."""
        return [
            message
            for message in self.messages
            if (role is None or message.role == role) and (filter_fn is None or filter_fn(message))
        ]

    def append_id_to_string(self, s: str) -> str:
        """Add the conversation's name to a text for a log or an error; nothing if it has none."""
        if not self.conversation_id:
            return s
        suffix = f"Conversation id: {self.conversation_id}."
        return f"{s.strip()} {suffix}" if s else suffix

    def with_reply(self, reply: Message, metadata: Mapping[str, Any]) -> Conversation:
        """A copy with `reply` appended and `metadata` added; this one stays as it is."""
        # Every row of a run comes through here. The constructor would look at each message and
        # tool once more, which takes three times as long: 0.6 us more.
        copy = _new(Conversation)
        copy.messages = [*self.messages, reply]
        copy.conversation_id = self.conversation_id
        copy.metadata = {**self.metadata, **metadata}
        copy.tools = self.tools if self.tools is None else list(self.tools)
        copy.extra = {**self.extra}
        return copy

    def to_dict(self) -> dict[str, Any]:
        """The conversation in Oumi's format; fields that are None or empty are left out.

        The containers down to the metadata are new; what the metadata and `extra` hold is shared.
        """
        data: dict[str, Any] = {}
        if self.conversation_id is not None:
            data["conversation_id"] = self.conversation_id
        data["messages"] = [message.to_dict() for message in self.messages]
        if self.metadata:
            data["metadata"] = dict(self.metadata)
        if self.tools is not None:
            data["tools"] = [tool.to_dict() for tool in self.tools]
        if self.extra:
            data.update(self.extra)
        return data

    def to_json(self) -> str:
        """The conversation as one line of JSON in Oumi's format.

        What JSON lacks is written as its nearest kin: bytes as base64, a set as a list, a date as
        its ISO text, NaN as null.

        Raises:
            DataError: it holds what JSON cannot.
        """
        return encode_json(self.to_dict(), self).decode()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Conversation:
        """Read a mapping with `messages`, in Oumi's or the chat-completions format.

        Raises:
            DataError: a field is missing or of another type; names its path.
        """
        rest = as_mapping(data, "messages")
        if "messages" not in rest:
            raise DataError("messages: missing; a conversation needs a list of messages")
        metadata = rest.pop("metadata", None)
        return cls(
            messages=rest.pop("messages"),
            conversation_id=take(rest, "conversation_id", str),
            metadata={} if metadata is None else metadata,
            tools=rest.pop("tools", None),
            extra=rest,
        )

    @classmethod
    def from_json(cls, text: str | bytes) -> Conversation:
        """Read one JSON object in Oumi's or the chat-completions format.

        Raises:
            DataError: it is not JSON, or not a conversation.
        """
        return cls.from_dict(decode_json(text))

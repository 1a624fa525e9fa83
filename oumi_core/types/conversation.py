"""Conversations: messages with roles, text, images and tool calls, in Oumi's format.

On the way in, fields that have no place here are kept in `extra`, and come out again on the way
back, so that a file can pass through without losing what others wrote into it.
"""

from __future__ import annotations

import base64
import binascii
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.errors import DataError
from oumi_core.types.reading import decode_json, encode_json, read_each, take_text
from oumi_core.types.tool_call import ToolCall, ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["ContentItem", "ContentType", "Conversation", "Message", "Role"]


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ContentType(StrEnum):
    """What a content item holds."""

    TEXT = "text"
    IMAGE_PATH = "image_path"
    IMAGE_URL = "image_url"
    IMAGE_BINARY = "image_binary"


_PLAIN = 2
"""A message that has no more fields than a role and a text takes the short way in."""

_ROLES: dict[Any, Role] = {role.value: role for role in Role}
_ITEM_TYPES: dict[Any, ContentType] = {kind.value: kind for kind in ContentType}


def _role(value: str) -> Role:
    try:
        return _ROLES[value]
    except (KeyError, TypeError):
        raise DataError(f"role: {value!r} is not one of {', '.join(_ROLES)}") from None


def _item_type(value: str) -> ContentType:
    try:
        return _ITEM_TYPES[value]
    except (KeyError, TypeError):
        raise DataError(f"type: {value!r} is not one of {', '.join(_ITEM_TYPES)}") from None


@attrs.frozen(repr=False)
class ContentItem:
    """A part of a message: a text, or an image by path, URL or bytes.

    Attributes:
        type: what it holds.
        content: the text, path or URL; None for bytes.
        binary: the image file's bytes as they are on disk; None for the other types.
        extra: fields of the source that have no place here, kept for the way back.

    Raises:
        DataError: `content` or `binary` is missing, or is there where the type has none.
    """

    type: ContentType = attrs.field(converter=_item_type)
    content: str | None = None
    binary: bytes | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.type is ContentType.IMAGE_BINARY:
            if not self.binary:
                raise DataError("binary: an item of type image_binary needs the image's bytes")
        elif not isinstance(self.content, str):
            raise DataError(f"content: an item of type {self.type.value} needs a text")
        if self.type is ContentType.TEXT and self.binary:
            raise DataError("binary: an item of type text has no bytes")

    def is_image(self) -> bool:
        """True for an image, however it is given."""
        return self.type is not ContentType.TEXT

    def is_text(self) -> bool:
        """True for a text."""
        return self.type is ContentType.TEXT

    def __repr__(self) -> str:
        size = len(self.binary or self.content or "")
        return f"ContentItem(type={self.type.value!r}, <{size}>)"

    def to_dict(self) -> dict[str, Any]:
        """The item in Oumi's format; bytes as base64 text."""
        data: dict[str, Any] = {"type": self.type.value}
        if self.content is not None:
            data["content"] = self.content
        if self.binary:
            data["binary"] = base64.b64encode(self.binary).decode()
        return {**data, **self.extra} if self.extra else data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ContentItem:
        """Read Oumi's format (`content`) or the chat-completions one (`text`, `image_url`).

        Raises:
            DataError: it is neither.
        """
        if not isinstance(data, dict):
            raise DataError("expected an object with a type")
        rest = dict(data)
        kind = _item_type(rest.pop("type", None))
        content, binary = rest.pop("content", None), rest.pop("binary", None)
        if content is None and kind is ContentType.TEXT:
            content = rest.pop("text", None)
        if content is None and kind is ContentType.IMAGE_URL:
            content, rest = _openai_image_url(rest)
        if isinstance(binary, str):
            try:
                binary = base64.b64decode(binary, validate=True)
            except binascii.Error as error:
                raise DataError(f"binary: not base64 ({error})") from error
        return cls(kind, content, binary, rest)


def _openai_image_url(rest: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Split `{"image_url": {"url": ..., "detail": ...}}` into the URL and what else there is."""
    value = rest.pop("image_url", None)
    if isinstance(value, dict):
        more = dict(value)
        return more.pop("url", None), {**rest, **more}
    return value, rest


@attrs.frozen(repr=False)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks; a `Role` or its text.
        content: the text, or a list of items; None only where there are tool calls.
        id: the message's own name; None if it has none.
        tool_calls: the calls that the model asks for; None if none.
        tool_call_id: for the role `tool`: the call that this is the answer to.
        reasoning_content: the model's reasoning, kept apart from its answer; None if none.
        extra: fields of the source that have no place here, kept for the way back.

    Raises:
        DataError: the role is unknown, or there is neither content nor a tool call.
    """

    role: Role = attrs.field(converter=_role)
    content: str | list[ContentItem] | None = None
    id: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.content is None:
            if not self.tool_calls:
                raise DataError("content: a message needs content or tool calls")
        elif not isinstance(self.content, str | list):
            raise DataError(
                f"content: expected a text or a list of items, got {type(self.content).__name__}"
            )

    @property
    def text(self) -> str:
        """All text of the message, joined without a separator; empty if there is none."""
        if isinstance(self.content, str):
            return self.content
        return "".join(item.content or "" for item in self.text_content_items)

    @property
    def content_items(self) -> Iterator[ContentItem]:
        """The content as items; a plain text is one item."""
        if isinstance(self.content, str):
            yield ContentItem(ContentType.TEXT, self.content)
        elif self.content is not None:
            yield from self.content

    @property
    def image_content_items(self) -> Iterator[ContentItem]:
        """The images."""
        return (item for item in self.content_items if item.is_image())

    @property
    def text_content_items(self) -> Iterator[ContentItem]:
        """The texts."""
        return (item for item in self.content_items if item.is_text())

    def compute_flattened_text_content(self, separator: str = " ") -> str:
        """All text of the message, its items joined by `separator`."""
        return separator.join(item.content or "" for item in self.text_content_items)

    def contains_images(self) -> bool:
        """True if there is at least one image."""
        return not isinstance(self.content, str) and any(True for _ in self.image_content_items)

    def contains_text(self) -> bool:
        """True if there is at least one text, even an empty one."""
        return any(True for _ in self.text_content_items)

    def __repr__(self) -> str:
        size = len(self.content) if isinstance(self.content, str) else 0
        shown = f"<{size} characters>" if isinstance(self.content, str) else repr(self.content)
        calls = f", {len(self.tool_calls)} tool calls" if self.tool_calls else ""
        return f"Message(role={self.role.value!r}, content={shown}{calls})"

    def __str__(self) -> str:
        """The message for a person: `USER: text`, images as `<IMAGE_URL>`."""
        parts = [
            f"<{item.type.name}>" if item.is_image() else item.content or ""
            for item in self.content_items
        ]
        return f"{self.role.name}: {' | '.join(parts)}"

    def to_dict(self) -> dict[str, Any]:
        """The message in Oumi's format; fields that are None are left out."""
        data: dict[str, Any] = {}
        if self.id is not None:
            data["id"] = self.id
        content = self.content
        if content is not None:
            data["content"] = (
                content if isinstance(content, str) else [item.to_dict() for item in content]
            )
        data["role"] = self.role.value
        if self.tool_calls is not None:
            data["tool_calls"] = [call.to_dict() for call in self.tool_calls]
        if self.tool_call_id is not None:
            data["tool_call_id"] = self.tool_call_id
        if self.reasoning_content is not None:
            data["reasoning_content"] = self.reasoning_content
        if self.extra:
            data.update(self.extra)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Message:
        """Read Oumi's or the chat-completions format.

        Raises:
            DataError: a field is missing or of another type; names the field.
        """
        if not isinstance(data, dict):
            raise DataError("expected an object with a role")
        role, content = data.get("role"), data.get("content")
        if len(data) == _PLAIN and isinstance(content, str):
            return cls(role, content)  # type: ignore[arg-type]  # checked by the converter
        rest = {key: value for key, value in data.items() if key not in ("role", "content")}
        if isinstance(content, list):
            content = read_each("content", ContentItem.from_dict, content)
        calls = rest.pop("tool_calls", None)
        if calls is not None:
            calls = read_each("tool_calls", ToolCall.from_dict, calls)
        return cls(
            role=role,  # type: ignore[arg-type]  # checked by the converter
            content=content,
            id=take_text(rest, "id"),
            tool_calls=calls,
            tool_call_id=take_text(rest, "tool_call_id"),
            reasoning_content=take_text(rest, "reasoning_content"),
            extra=rest,
        )


def _message(value: Message | Mapping[str, Any]) -> Message:
    return value if isinstance(value, Message) else Message.from_dict(value)


def _tool(value: ToolDefinition | Mapping[str, Any]) -> ToolDefinition:
    return value if isinstance(value, ToolDefinition) else ToolDefinition.from_dict(value)


def _tools(value: list[Any] | None) -> list[ToolDefinition] | None:
    return None if value is None else read_each("tools", _tool, value)


@attrs.define(repr=False)
class Conversation:
    """Messages in order, with a name, metadata and tools.

    The one type here that can be changed in place, as Oumi's can: programs fill in `metadata` and
    append to `messages`. The engines and runs of this package never change one they were given.

    Attributes:
        messages: the turns, oldest first.
        conversation_id: names the conversation; None if it has no name.
        metadata: anything of the user's. Runs add `usage` and `finish_reason` to their results'.
        tools: the tools that the model may call; None if there are none.
        extra: fields of the source that have no place here, kept for the way back.
    """

    messages: list[Message]
    conversation_id: str | None = None
    metadata: dict[str, Any] = attrs.field(factory=dict)
    tools: list[ToolDefinition] | None = attrs.field(default=None, converter=_tools)
    extra: dict[str, Any] = attrs.field(factory=dict)

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

    def with_reply(self, reply: Message, metadata: Mapping[str, Any]) -> Conversation:
        """A copy with `reply` appended and `metadata` added; this one stays as it is."""
        return Conversation(
            [*self.messages, reply],
            self.conversation_id,
            {**self.metadata, **metadata},
            self.tools,
            self.extra,
        )

    def to_dict(self) -> dict[str, Any]:
        """The conversation in Oumi's format; fields that are None or empty are left out."""
        data: dict[str, Any] = {}
        if self.conversation_id is not None:
            data["conversation_id"] = self.conversation_id
        data["messages"] = [message.to_dict() for message in self.messages]
        if self.metadata:
            data["metadata"] = self.metadata
        if self.tools is not None:
            data["tools"] = [tool.to_dict() for tool in self.tools]
        if self.extra:
            data.update(self.extra)
        return data

    def to_json(self) -> str:
        """The conversation as one line of JSON in Oumi's format."""
        return encode_json(self.to_dict(), "conversation").decode()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Conversation:
        """Read a mapping with `messages`, in Oumi's or the chat-completions format.

        Raises:
            DataError: a field is missing or of another type; names its path.
        """
        if not isinstance(data, dict):
            raise DataError(f"expected an object, got {type(data).__name__}")
        rest = dict(data)
        if "messages" not in rest:
            raise DataError("messages: missing; a conversation needs a list of messages")
        messages = read_each("messages", _message, rest.pop("messages"))
        metadata = rest.pop("metadata", None)
        if metadata is not None and not isinstance(metadata, dict):
            raise DataError(f"metadata: expected an object, got {type(metadata).__name__}")
        return cls(
            messages=messages,
            conversation_id=take_text(rest, "conversation_id"),
            metadata=metadata or {},
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

"""Messages: a role with text, images or tool calls, in Oumi's and the chat-completions format.

On the way in, fields that have no place here are kept in `extra`, and come out again on the way
back, so that a file can pass through without losing what others wrote into it. What is frozen
here keeps its own lists; what lies deeper (`extra`, the values in it) is shared with whoever
handed it in, and must not be changed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.errors import DataError
from oumi_core.types.content import ContentItem, ContentItemCounts, ContentType
from oumi_core.types.maker import unlocked
from oumi_core.types.reading import as_mapping, read_each, shown, take
from oumi_core.types.tool_call import ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Message", "Role"]


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


_PLAIN = 2
"""The fields of a message that has a role and a text and nothing else."""

_ROLES: dict[Any, Role] = {role.value: role for role in Role}
_OTHER_NAMES = {"developer": "system", "function": "tool", "human": "user", "model": "assistant"}
"""What other formats call the roles; not taken silently, since the way back would differ."""


def _role(value: Any) -> Role:
    try:
        return _ROLES[value]
    except (KeyError, TypeError):
        fault = f"role: {shown(value)} is not one of {', '.join(_ROLES)}"
        if isinstance(value, str) and value in _OTHER_NAMES:
            fault += f"; use {_OTHER_NAMES[value]!r}"
        raise DataError(fault) from None


@attrs.frozen(repr=False)
class Message:
    """One turn of a conversation.

    Attributes:
        role: who speaks; a `Role` or its text.
        content: the text, or a list of items (or their dicts); None only where there are tool
            calls.
        id: the message's own name; None if it has none.
        tool_calls: the calls that the model asks for, or their dicts; None if none.
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
        if self.tool_calls is not None:
            calls = read_each("tool_calls", ToolCall.from_dict, self.tool_calls)
            object.__setattr__(self, "tool_calls", calls)
        if self.content is None:
            if not self.tool_calls:
                raise DataError("content: a message needs content or tool calls")
        elif isinstance(self.content, list | tuple):
            items = read_each("content", ContentItem.from_dict, self.content)
            object.__setattr__(self, "content", items)
        elif not isinstance(self.content, str):
            raise DataError(
                f"content: expected a text or a list of items, got {type(self.content).__name__}"
            )

    def get(self, key: str, default: Any = None) -> Any:
        """A field by its name, unknown ones included; `default` where it is missing or None.

        Chat templates read messages like this. Items and tool calls come as objects.
        """
        value = self.extra.get(key) if key not in _FIELDS else getattr(self, key)
        return default if value is None else value

    @property
    def text(self) -> str:
        """All text of the message, joined without a separator; empty if there is none."""
        return self.compute_flattened_text_content("")

    @property
    def content_items(self) -> list[ContentItem]:
        """The content as items; a plain text is one item."""
        if isinstance(self.content, str):
            return [ContentItem(ContentType.TEXT, self.content)]
        return list(self.content or ())

    @property
    def image_content_items(self) -> list[ContentItem]:
        """The images."""
        return [item for item in self._listed if item.is_image()]

    @property
    def text_content_items(self) -> list[ContentItem]:
        """The texts."""
        return [item for item in self.content_items if item.is_text()]

    @property
    def _listed(self) -> Sequence[ContentItem]:
        """The items of a content that is a list: a plain text has nothing but itself."""
        return self.content if isinstance(self.content, list) else ()

    def compute_flattened_text_content(self, separator: str = " ") -> str:
        """All text of the message, its items joined by `separator`."""
        if isinstance(self.content, str):
            return self.content
        return separator.join(item.content or "" for item in self._listed if item.is_text())

    def count_content_items(self) -> ContentItemCounts:
        """Count the items by what they hold; a plain text is one item."""
        if isinstance(self.content, str):
            return ContentItemCounts(1, 1, 0)
        images = len(self.image_content_items)
        return ContentItemCounts(len(self._listed), len(self._listed) - images, images)

    def contains_images(self) -> bool:
        """True if there is at least one image."""
        return any(item.is_image() for item in self._listed)

    def contains_text(self) -> bool:
        """True if there is at least one text, even an empty one."""
        return isinstance(self.content, str) or any(item.is_text() for item in self._listed)

    def contains_image_content_items_only(self) -> bool:
        """True if there are images and nothing else."""
        return self.contains_images() and not self.contains_text()

    def contains_text_content_items_only(self) -> bool:
        """True if there are texts and nothing else."""
        return self.contains_text() and not self.contains_images()

    def contains_single_image_content_item_only(self) -> bool:
        """True if the content is exactly one image."""
        return self.count_content_items() == (1, 0, 1)

    def contains_single_text_content_item_only(self) -> bool:
        """True if the content is exactly one text."""
        return self.count_content_items() == (1, 1, 0)

    def __repr__(self) -> str:
        plain = isinstance(self.content, str)
        content = f"<{len(self.content or '')} characters>" if plain else repr(self.content)
        calls = f", {len(self.tool_calls)} tool calls" if self.tool_calls else ""
        return f"Message(role={self.role.value!r}, content={content}{calls})"

    def __str__(self) -> str:
        """The message for a person: `USER: text`, images as `<IMAGE_URL>`."""
        parts = [
            f"<{item.type.name}>" if item.is_image() else item.content or ""
            for item in self.content_items
        ]
        return f"{self.role.name}: {' | '.join(parts)}"

    def to_dict(self) -> dict[str, Any]:
        """The message in Oumi's format; fields that are None are left out.

        `content` alone is always there, null beside tool calls, because chat templates and
        servers look for it.
        """
        content = self.content
        data: dict[str, Any] = {} if self.id is None else {"id": self.id}
        if isinstance(content, list):
            data["content"] = [item.to_dict() for item in content]
        else:
            data["content"] = content
        data["role"] = str(self.role)  # `.value` runs Python code: 0.1 us more
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
    def from_dict(cls, data: Mapping[str, Any] | Message) -> Message:
        """Read Oumi's or the chat-completions format.

        Args:
            data: the message; one that is a `Message` already is returned as it is.

        Raises:
            DataError: a field is missing or of another type; names the field.
        """
        if isinstance(data, dict) and len(data) == _PLAIN:
            role, content = data.get("role"), data.get("content")
            if isinstance(role, str) and role in _ROLES and isinstance(content, str):
                return _plain_message(_ROLES[role], content)
        if isinstance(data, Message):
            return data
        rest = as_mapping(data, "a role")
        role, content = rest.pop("role", None), rest.pop("content", None)
        return cls(
            role=role,
            content=content,
            id=take(rest, "id", str),
            tool_calls=rest.pop("tool_calls", None),
            tool_call_id=take(rest, "tool_call_id", str),
            reasoning_content=take(rest, "reasoning_content", str),
            extra=rest,
        )


_FIELDS = frozenset(field.name for field in attrs.fields(Message)) - {"extra"}

_new = object.__new__
_Unlocked = unlocked(Message)


def _plain_message(role: Role, content: str) -> Message:
    """The message that `Message(role, content)` makes, of values that are known to be right.

    Nearly all messages of a file are of this kind. Filling the fields here takes 0.3 us, the
    general constructor 1.2; three to a row, that is a third of what a row costs to read.
    """
    message: Message = _new(_Unlocked)
    message.role = role  # type: ignore[misc]  # it is unlocked, as the following are
    message.content = content  # type: ignore[misc]
    message.id = message.tool_calls = message.tool_call_id = None  # type: ignore[misc]
    message.reasoning_content = None  # type: ignore[misc]
    message.extra = {}  # type: ignore[misc]
    message.__class__ = Message
    return message

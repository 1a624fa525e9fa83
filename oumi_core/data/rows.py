"""The shapes of a row that are understood, and how each becomes a conversation. Pure.

    {"messages": [{"role": "user", "content": "..."}]}        Oumi's own, and OpenAI's
    {"conversations": [{"from": "human", "value": "..."}]}    ShareGPT's
    {"prompt": "..."} or {"prompt": [messages]}               a prompt alone

Fields that belong to no shape are kept in `extra`, on the conversation and on each message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oumi_core.errors import DataError
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.types.reading import as_mapping, read_each, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["conversation_from_row"]

_SHAPES = (
    'a row is {"messages": [{"role": ..., "content": ...}]}, '
    '{"conversations": [{"from": ..., "value": ...}]} or {"prompt": ...}'
)
_SHAREGPT_ROLES = {
    "human": Role.USER,
    "user": Role.USER,
    "gpt": Role.ASSISTANT,
    "chatgpt": Role.ASSISTANT,
    "assistant": Role.ASSISTANT,
    "bot": Role.ASSISTANT,
    "model": Role.ASSISTANT,
    "bard": Role.ASSISTANT,
    "bing": Role.ASSISTANT,
    "system": Role.SYSTEM,
    "tool": Role.TOOL,
    "observation": Role.TOOL,
}


def conversation_from_row(row: Mapping[str, Any]) -> Conversation:
    """Make a conversation of one row, in any shape that is understood.

    `messages` decides where it is given: what else the row holds rides along as unknown fields.

    Args:
        row: the row, as JSON gives it; not changed.

    Raises:
        DataError: the shape is unknown or ambiguous, the conversation is empty, or a field is
            wrong; the fault names the field's path.
    """
    if not isinstance(row, dict):
        row = as_mapping(row, "messages, conversations or a prompt")
    if "messages" in row:
        conversation = Conversation.from_dict(row)
    else:
        conversation = Conversation.from_dict(_with_messages(row))
    if not conversation.messages:
        raise DataError("messages: empty; a conversation needs at least one message")
    return conversation


def _with_messages(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row in Oumi's shape."""
    rest = dict(row)
    if "conversations" in rest and "prompt" in rest:
        raise DataError(
            "conversations and prompt: either could be the conversation; "
            f"remove one or rename it ({_SHAPES})"
        )
    if "conversations" in rest:
        turns = read_each("conversations", _sharegpt_message, rest.pop("conversations"))
        return {**rest, "messages": turns}
    if "prompt" in rest:
        messages = _prompt_messages(rest.pop("prompt"))
        return {**rest, "messages": messages}
    raise DataError(_unknown_shape(rest))


def _sharegpt_message(turn: Any) -> Message:
    """Read one turn of ShareGPT; many files of that shape hold OpenAI's turns instead."""
    rest = as_mapping(turn, "from and value")
    if "from" not in rest and "role" in rest:
        return Message.from_dict(rest)
    speaker, value = rest.pop("from", None), rest.pop("value", None)
    role = _SHAREGPT_ROLES.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        known = ", ".join(_SHAREGPT_ROLES)
        raise DataError(f"from: {shown(speaker)} is not one of {known}")
    if not isinstance(value, str):
        raise DataError(f"value: expected a text, got {type(value).__name__}")
    return Message.from_dict({**rest, "role": role, "content": value})


def _prompt_messages(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        if not prompt.strip():
            raise DataError("messages: empty; the prompt is blank")
        return [Message(Role.USER, prompt)]
    if isinstance(prompt, list):
        return read_each("prompt", Message.from_dict, prompt)
    raise DataError(f"prompt: expected a text or a list of messages, got {type(prompt).__name__}")


def _unknown_shape(row: dict[str, Any]) -> str:
    # Import on use: only a faulty row needs it.
    from difflib import get_close_matches  # noqa: PLC0415

    for name in row:
        nearest = get_close_matches(str(name).lower(), ("messages", "conversations", "prompt"), n=1)
        if nearest:
            return f"{shown(name)}: unknown shape of a row; is {nearest[0]!r} meant? {_SHAPES}"
    found = ", ".join(shown(name) for name in list(row)[:5]) or "nothing"
    return f"messages: missing; the row holds {found}; {_SHAPES}"

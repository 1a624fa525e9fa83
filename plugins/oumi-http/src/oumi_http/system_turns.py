"""Conversations for servers without system messages."""

from __future__ import annotations

import attrs
from oumi_core.types.conversation import ContentItem, ContentType, Conversation, Message, Role

__all__ = ["without_system"]


def without_system(conversation: Conversation) -> Conversation:
    """A copy with the texts of all system messages before the first message of the user.

    Where the user says nothing, they are what the user says.
    """
    texts = [one.text for one in conversation.messages if one.role is Role.SYSTEM]
    if not texts:
        return conversation
    rest = [message for message in conversation.messages if message.role is not Role.SYSTEM]
    at = next((i for i, one in enumerate(rest) if one.role is Role.USER), None)
    if at is None:
        rest.insert(0, Message(Role.USER, "\n\n".join(texts)))
    else:
        rest[at] = _prefixed(rest[at], "\n\n".join(texts))
    return Conversation(rest, conversation.conversation_id, tools=conversation.tools)


def _prefixed(message: Message, text: str) -> Message:
    if isinstance(message.content, str):
        return attrs.evolve(message, content=f"{text}\n\n{message.content}")
    items = [ContentItem(ContentType.TEXT, text), *(message.content or ())]
    return attrs.evolve(message, content=items)

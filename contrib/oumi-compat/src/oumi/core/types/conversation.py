"""Conversations and their parts, under Oumi's path; `Type` is Oumi's name of `ContentType`."""

from oumi_core.types.completion import FinishReason
from oumi_core.types.conversation import ContentItem, Conversation, Message, Role
from oumi_core.types.conversation import ContentType as Type

__all__ = ["ContentItem", "Conversation", "FinishReason", "Message", "Role", "Type"]

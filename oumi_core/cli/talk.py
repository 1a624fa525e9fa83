"""What a chat remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from oumi_core.cli.images import user_message
from oumi_core.types.conversation import Conversation, Message, Role

if TYPE_CHECKING:
    from oumi_core.types.conversation import ContentItem

__all__ = ["Talk"]


@attrs.define
class Talk:
    """The turns so far, and what goes with the next one.

    Attributes:
        system_prompt: the system message; None for none.
        turns: what was asked and answered, by turns.
        images: go with the next question.
    """

    system_prompt: str | None = None
    turns: list[Message] = attrs.field(factory=list)
    images: list[ContentItem] = attrs.field(factory=list)

    def question(self, text: str) -> Message:
        """What the user says now; takes the images."""
        images, self.images = self.images, []
        return user_message(text, images)

    def conversation(self, *more: Message) -> Conversation:
        """The whole conversation, with `more` at its end."""
        system = [] if self.system_prompt is None else [Message(Role.SYSTEM, self.system_prompt)]
        return Conversation([*system, *self.turns, *more])

"""The backend `reask`: the prompt says what is wanted, and wrong answers are sent back.

For engines that enforce nothing. The model sees the constraint after the last user message, and
after a wrong answer that answer and its faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec

from oumi_core.guided.constraint import Choice, JsonSchema, Regex
from oumi_core.guided.decoder import Decoder, Fault, Refusal
from oumi_core.types.conversation import ContentItem, ContentType, Conversation, Message, Role

if TYPE_CHECKING:
    from oumi_core.engine import Capabilities, Request
    from oumi_core.guided.constraint import Constraint
    from oumi_core.types.completion import Completion

__all__ = ["ReaskDecoder"]


class ReaskDecoder(Decoder):
    """Asks in words, checks, and asks again with the faults."""

    def prepare(self, request: Request, capabilities: Capabilities) -> Request | Refusal:  # noqa: ARG002 - it needs none
        """The request with the constraint in words at the end of the last user message."""
        messages = list(request.conversation.messages)
        last = max(
            (at for at, message in enumerate(messages) if message.role is Role.USER), default=None
        )
        wanted = _in_words(self.constraint)
        if last is None:
            messages.append(Message(Role.USER, wanted))
        else:
            messages[last] = _with_text(messages[last], wanted)
        return _with_messages(request, messages)

    def again(self, request: Request, completion: Completion, fault: Fault) -> Request | None:
        """The same with the wrong answer and its fault, so that the model can mend it."""
        complaint = f"Your answer {fault.reason}. {_in_words(self.constraint)}"
        answer = Message(Role.ASSISTANT, completion.text)
        messages = [*request.conversation.messages, answer, Message(Role.USER, complaint)]
        return _with_messages(request, messages)


def _in_words(constraint: Constraint) -> str:
    if isinstance(constraint, JsonSchema):
        schema = msgspec.json.encode(constraint.schema).decode()
        return f"Answer with nothing but JSON that fits this JSON Schema: {schema}"
    if isinstance(constraint, Regex):
        pattern = constraint.pattern
        return f"Answer with nothing but a text that matches this regular expression: {pattern}"
    if isinstance(constraint, Choice):
        options = msgspec.json.encode(constraint.options).decode()
        return f"Answer with nothing but one of these texts, word for word: {options}"
    return f"Answer with nothing but a text of this grammar (GBNF):\n{constraint.text}"


def _with_text(message: Message, text: str) -> Message:
    if isinstance(message.content, str):
        return attrs.evolve(message, content=f"{message.content}\n\n{text}")
    return attrs.evolve(
        message, content=[*(message.content or ()), ContentItem(ContentType.TEXT, text)]
    )


def _with_messages(request: Request, messages: list[Message]) -> Request:
    asked = request.conversation
    conversation = Conversation(
        messages, asked.conversation_id, asked.metadata, asked.tools, asked.extra
    )
    # Without the constraint: the engine is not to enforce it.
    return attrs.evolve(request, conversation=conversation, constraint=None)

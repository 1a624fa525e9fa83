"""The engine `shout`."""

from typing import ClassVar

from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.errors import EngineError
from oumi_core.types import Completion, FinishReason, Message, Role


class ShoutEngine(Engine):
    """Answers with the last user message, in capitals."""

    capabilities: ClassVar[Capabilities] = Capabilities(generation=frozenset())

    async def complete(self, request: Request) -> Completion:
        """The reply to one row."""
        question = request.conversation.last_message(Role.USER)
        if question is None:
            raise EngineError.bad_request("no user message to shout")
        return Completion(Message(Role.ASSISTANT, question.text.upper()), FinishReason.STOP)

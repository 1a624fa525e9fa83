"""The engine `echo`: answers with the last user message. For tests and dry runs."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, ClassVar

from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.types.completion import Chunk, Completion, FinishReason, Usage
from oumi_core.types.conversation import Message, Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["EchoEngine"]

_WORDS = re.compile(r"\s*\S+\s*")


class EchoEngine(Engine):
    """Answers with the text of the last user message; costs nothing and needs no model.

    A token is a word here: `max_new_tokens` cuts the answer to that many. Sampling parameters are
    taken, as there is nothing to sample.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(streaming=True, images=True, tools=True)

    async def complete(self, request: Request) -> Completion:
        """The last user message as the reply; empty if there is none."""
        last = request.conversation.last_message(Role.USER)
        text = last.text if last is not None else ""
        for stop in request.generation.stop_strings or ():
            text = text.partition(stop)[0]
        limit = request.generation.max_new_tokens
        reason, words = FinishReason.STOP, text.count(" ") + 1
        if words > limit:
            pieces = _WORDS.findall(text)
            text, words = "".join(pieces[:limit]), min(len(pieces), limit)
            reason = FinishReason.LENGTH if len(pieces) > limit else FinishReason.STOP
        usage = Usage(words, words)
        return Completion(Message(Role.ASSISTANT, text), reason, usage, "echo")

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        """The reply word by word."""
        completion = await self.complete(request)
        for word in _WORDS.findall(completion.text):
            yield Chunk(word)
            await asyncio.sleep(0)
        yield completion

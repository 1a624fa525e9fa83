"""What an engine answers with: a completion, whole or in pieces."""

from __future__ import annotations

import operator
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oumi_core.types.conversation import Message

__all__ = ["Chunk", "Completion", "FinishReason", "Usage"]


class FinishReason(StrEnum):
    """Why the model stopped; the values of the chat-completions format, and two of ours."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"
    UNKNOWN = "unknown"


@attrs.frozen
class Usage:
    """Tokens, as the engine counted them.

    Attributes:
        prompt_tokens: tokens of the prompt, cached ones included.
        completion_tokens: tokens of the answer, reasoning included.
        total_tokens: the sum as the engine gave it; by default the sum of the two.
        cached_tokens: prompt tokens read from the provider's cache; None if it does not say.
        cache_creation_tokens: prompt tokens written to that cache; None if it does not say.
        reasoning_tokens: completion tokens spent on reasoning; None if it does not say.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = attrs.field(
        default=attrs.Factory(
            lambda self: self.prompt_tokens + self.completion_tokens, takes_self=True
        )
    )
    cached_tokens: int | None = None
    cache_creation_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: Usage) -> Usage:
        """Both together; what one of them does not say counts as none."""
        return _each(operator.add, self, other)

    def __sub__(self, other: Usage) -> Usage:
        """This without the other."""
        return _each(operator.sub, self, other)

    def to_dict(self) -> dict[str, int]:
        """The counts that are known, by name."""
        counts = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }
        # Written out: every result carries it, and attrs.asdict would take 1.3 us more.
        if self.cached_tokens is not None:
            counts["cached_tokens"] = self.cached_tokens
        if self.cache_creation_tokens is not None:
            counts["cache_creation_tokens"] = self.cache_creation_tokens
        if self.reasoning_tokens is not None:
            counts["reasoning_tokens"] = self.reasoning_tokens
        return counts


def _each(does: Callable[[int, int], int], one: Usage, other: Usage) -> Usage:
    def known(ours: int | None, theirs: int | None) -> int | None:
        return None if ours is None and theirs is None else does(ours or 0, theirs or 0)

    return Usage(
        does(one.prompt_tokens, other.prompt_tokens),
        does(one.completion_tokens, other.completion_tokens),
        does(one.total_tokens, other.total_tokens),
        known(one.cached_tokens, other.cached_tokens),
        known(one.cache_creation_tokens, other.cache_creation_tokens),
        known(one.reasoning_tokens, other.reasoning_tokens),
    )


@attrs.frozen
class Completion:
    """One answer of an engine.

    Attributes:
        message: the reply, with the role `assistant`.
        finish_reason: why the model stopped.
        usage: token counts; None if the engine has none.
        model: the model as the engine names it in its answer; None if it does not.
        request_id: the server's id of the request; None if it has none.
        refusal: the model's words where it declined to answer; None otherwise.
        logprobs: log probabilities in the chat-completions format, as received; None if none.
        alternatives: the other choices, where more than one was asked for.
        time_to_first_token: seconds from the call to the first piece of text, as core measures
            them; None if not streamed.
        guided_backend: the library that held the answer to its constraint while it was made, by
            the engine's name for it; None if it was free, or the engine does not say.
    """

    message: Message
    finish_reason: FinishReason = FinishReason.UNKNOWN
    usage: Usage | None = None
    model: str | None = None
    request_id: str | None = None
    refusal: str | None = attrs.field(default=None, repr=False)
    logprobs: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    alternatives: tuple[Message, ...] = ()
    time_to_first_token: float | None = None
    guided_backend: str | None = None

    @property
    def text(self) -> str:
        """The reply's text; empty if it holds only tool calls."""
        return self.message.text


def _size(text: str) -> str:
    """A text's stand-in for a repr, which may end up in a log."""
    return f"<{len(text)} characters>"


@attrs.frozen
class Chunk:
    """A piece of a streamed answer.

    Attributes:
        text: what follows the text so far; may be empty.
        reasoning: what follows the reasoning so far; may be empty.
    """

    text: str = attrs.field(default="", repr=_size)
    reasoning: str = attrs.field(default="", repr=_size)

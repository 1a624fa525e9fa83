"""vLLM's output of a request as a completion."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import EngineError
from oumi_core.types.completion import Completion, FinishReason, Usage
from oumi_core.types.conversation import Message, Role
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oumi_core.types.tool_call import ToolCall

    from oumi_vllm.parsing import Parsers
    from oumi_vllm.tools import ToolUse

__all__ = ["completion_of", "usage_of"]

_FINISH_REASONS: Mapping[str | None, FinishReason] = MappingProxyType(
    {
        "stop": FinishReason.STOP,
        "length": FinishReason.LENGTH,
        "repetition": FinishReason.LENGTH,  # cut short because it went in circles
    }
)


def completion_of(
    output: Any, use: ToolUse, parsers: Parsers | None, *, alternatives: int
) -> Completion:
    """The completion that a finished output makes.

    Args:
        output: a `RequestOutput` with the whole text.
        use: how the request uses tools.
        parsers: what reads the text; None to take it as it is.
        alternatives: most alternatives of a token among the log probabilities.

    Raises:
        EngineError: vLLM gave the request up, or a demanded tool call is cut short.
    """
    first, *others = output.outputs
    reason = _FINISH_REASONS.get(first.finish_reason)
    if reason is None:
        raise EngineError(
            Failure(
                FailureKind.TRANSIENT,
                f"vLLM gave the request up ({first.finish_reason}); its log (stderr) says more",
            )
        )
    message = _message(first.text, use, parsers)
    if message.tool_calls and reason is FinishReason.STOP:
        reason = FinishReason.TOOL_CALLS
    return Completion(
        message=message,
        finish_reason=reason,
        usage=usage_of(output),
        logprobs=_logprobs(first, alternatives),
        alternatives=tuple(_message(other.text, use, parsers) for other in others),
    )


def usage_of(output: Any) -> Usage:
    """The tokens of a request."""
    return Usage(
        prompt_tokens=len(output.prompt_token_ids or ()),
        completion_tokens=sum(len(choice.token_ids) for choice in output.outputs),
        cached_tokens=output.num_cached_tokens,
    )


def _message(text: str, use: ToolUse, parsers: Parsers | None) -> Message:
    reasoning: str | None = None
    calls: list[ToolCall] = []
    if parsers is not None:
        reasoning, text, calls = parsers.read(text)
    if use.constraint is not None:
        text, calls = "", use.calls_in(text)
    message = Message(Role.ASSISTANT, text if text or not calls else None, tool_calls=calls or None)
    return attrs.evolve(message, reasoning_content=reasoning) if reasoning else message


def _logprobs(choice: Any, alternatives: int) -> Mapping[str, Any] | None:
    """In the chat-completions format: per token its own, and those of its alternatives."""
    if choice.logprobs is None:
        return None
    content = []
    for token, known in zip(choice.token_ids, choice.logprobs, strict=False):
        ranked = sorted(known.items(), key=lambda entry: entry[1].rank or 0)
        entry = _logprob(token, known[token])
        entry["top_logprobs"] = [_logprob(*other) for other in ranked[:alternatives]]
        content.append(entry)
    return {"content": content}


def _logprob(token: int, value: Any) -> dict[str, Any]:
    text: str = value.decoded_token if value.decoded_token is not None else f"token_id:{token}"
    return {"token": text, "logprob": value.logprob, "bytes": _bytes(text)}


def _bytes(text: str) -> Sequence[int]:
    return list(text.encode("utf-8", errors="replace"))

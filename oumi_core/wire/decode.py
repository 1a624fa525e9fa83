"""The body of a chat-completions answer as a completion."""

from __future__ import annotations

from typing import Any

import attrs

from oumi_core.errors import DataError, EngineError
from oumi_core.types.completion import Completion, FinishReason, Usage
from oumi_core.types.conversation import ContentItem, Message, Role
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.tool_call import ToolCall
from oumi_core.wire.failures import failure_from_error

__all__ = ["decode_completion", "finish_reason", "malformed"]

# In lower case: some servers shout.
_FINISH_REASONS = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "eos_token": FinishReason.STOP,
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "max_output_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "repetition": FinishReason.LENGTH,  # vLLM: cut short because it went in circles
    "tool_calls": FinishReason.TOOL_CALLS,
    "tool_call": FinishReason.TOOL_CALLS,
    "tool_use": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
    "safety": FinishReason.CONTENT_FILTER,
    "recitation": FinishReason.CONTENT_FILTER,
    "error": FinishReason.ERROR,
    "abort": FinishReason.ERROR,  # vLLM
    "insufficient_system_resource": FinishReason.ERROR,  # DeepSeek
}

# Fields of a message that have their place in `Message` and `Completion`; others go to `extra`.
_KNOWN = frozenset(
    {
        "role",
        "content",
        "id",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "reasoning",
        "reasoning_content",
        "refusal",
    }
)
_REASONING_PARTS = frozenset({"thinking", "reasoning"})


def malformed(what: str) -> EngineError:
    """The error for an answer that is none: broken on the way, so that a retry may help."""
    return EngineError(Failure(FailureKind.TRANSIENT, f"malformed answer: {what}"))


def decode_completion(body: Any, *, request_id: str | None = None) -> Completion:
    """Read the decoded JSON of an answer.

    The first choice is the reply, the others are its `alternatives`. Calls without an id are
    named `call_0`, `call_1`, ... after their place.

    Args:
        body: what the server sent.
        request_id: the server's id of the request; by default the id of the answer.

    Raises:
        EngineError: it is an error, of the kind that it says; or no completion, `transient`.
    """
    if not isinstance(body, dict):
        if isinstance(body, list) and body and isinstance(body[0], dict) and "error" in body[0]:
            raise EngineError(failure_from_error(None, body, request_id=request_id))
        raise malformed(f"expected an object, got {type(body).__name__}")
    choices = body.get("choices")
    if body.get("error") or (not choices and _is_flat_error(body)):
        raise EngineError(failure_from_error(None, body, request_id=request_id))
    if not isinstance(choices, list) or not choices:
        raise malformed("choices: expected a list of at least one")
    first = _object(choices[0], "choices[0]")
    if isinstance(first.get("error"), dict):  # OpenRouter: the error of the provider behind it
        raise EngineError(failure_from_error(None, first, request_id=request_id))
    data = _object(first.get("message"), "choices[0].message")
    message, refusal = _message(data, "choices[0].message")
    logprobs = first.get("logprobs")
    return Completion(
        message=message,
        finish_reason=finish_reason(first.get("finish_reason")),
        usage=_usage(body.get("usage")),
        model=_text(body.get("model")),
        request_id=request_id or _text(body.get("id")),
        refusal=refusal,
        logprobs=logprobs if isinstance(logprobs, dict) else None,
        alternatives=_alternatives(choices) if len(choices) > 1 else (),
    )


def _is_flat_error(body: dict[str, Any]) -> bool:
    return (
        body.get("object") == "error"
        or isinstance(body.get("message"), str)
        or isinstance(body.get("detail"), str | list)
    )


def _alternatives(choices: list[Any]) -> tuple[Message, ...]:
    messages = []
    for at, choice in enumerate(choices[1:], start=1):
        where = f"choices[{at}]"
        data = _object(_object(choice, where).get("message"), f"{where}.message")
        messages.append(_message(data, f"{where}.message")[0])
    return tuple(messages)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise malformed(f"{where}: expected an object, got {type(value).__name__}")
    return value


def _message(data: dict[str, Any], where: str) -> tuple[Message, str | None]:
    """The message, and the words with which the model declined, if it did."""
    content = data.get("content")
    reasoning = _text(data.get("reasoning")) or _text(data.get("reasoning_content"))
    refusal = _text(data.get("refusal"))
    if isinstance(content, list):
        content, thought, declined = _parts(content, where)
        reasoning, refusal = reasoning or thought, refusal or declined
    elif content is not None and not isinstance(content, str):
        raise malformed(f"{where}.content: expected a text, got {type(content).__name__}")
    calls = _tool_calls(data, where)
    extra = {key: value for key, value in data.items() if key not in _KNOWN and value}
    if content is None and not calls:
        content = ""
    return (
        Message(
            Role.ASSISTANT,
            content,
            tool_calls=calls,
            reasoning_content=reasoning,
            extra=extra,
        ),
        refusal,
    )


def _parts(parts: list[Any], where: str) -> tuple[str | list[ContentItem], str | None, str | None]:
    """A content in parts: the text (or items, where there are images), reasoning and refusal."""
    items: list[ContentItem] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    for at, value in enumerate(parts):
        place = f"{where}.content[{at}]"
        part = _object(value, place)
        kind = part.get("type")
        if isinstance(kind, str) and kind in _REASONING_PARTS:
            thoughts.append(_thought(part.get(kind, part.get("text")), place))
        elif kind == "refusal":
            refusals.append(_text(part.get("refusal")) or "")
        else:
            items.append(_item(part, place))
    content = items if any(item.is_image() for item in items) else _joined(items)
    return content, "".join(thoughts) or None, "".join(refusals) or None


def _joined(items: list[ContentItem]) -> str:
    return "".join(item.content or "" for item in items)


def _item(part: dict[str, Any], place: str) -> ContentItem:
    try:
        return ContentItem.from_dict(part)
    except DataError as error:
        raise malformed(f"{place}.{error}") from error


def _thought(value: Any, place: str) -> str:
    """Reasoning as a text, or as Mistral's list of text parts."""
    if isinstance(value, list):
        return _joined([_item(_object(part, place), place) for part in value])
    return _text(value) or ""


def _tool_calls(data: dict[str, Any], where: str) -> list[ToolCall] | None:
    calls = data.get("tool_calls")
    if not calls:
        # The form before 2024, still sent by some servers.
        function = data.get("function_call")
        calls = [{"function": function}] if isinstance(function, dict) else None
    if calls is None:
        return None
    if not isinstance(calls, list):
        raise malformed(f"{where}.tool_calls: expected a list, got {type(calls).__name__}")
    return [_tool_call(call, at, f"{where}.tool_calls[{at}]") for at, call in enumerate(calls)]


def _tool_call(data: Any, at: int, where: str) -> ToolCall:
    data = {key: value for key, value in _object(data, where).items() if key != "index"}
    try:
        call = ToolCall.from_dict(data)
    except DataError as error:
        raise malformed(f"{where}.{error}") from error
    return call if call.id else attrs.evolve(call, id=f"call_{at}")


def finish_reason(value: Any) -> FinishReason:
    """Why the model stopped, in any server's words."""
    if not isinstance(value, str):
        return FinishReason.UNKNOWN
    return _FINISH_REASONS.get(value.lower(), FinishReason.UNKNOWN)


def _usage(data: Any) -> Usage | None:
    if not isinstance(data, dict):
        return None
    prompt, answer = _count(data.get("prompt_tokens")), _count(data.get("completion_tokens"))
    total = _count(data.get("total_tokens"))
    if prompt is None and answer is None and total is None:
        return None
    of_prompt = data.get("prompt_tokens_details")
    of_answer = data.get("completion_tokens_details")
    return Usage(
        prompt_tokens=prompt or 0,
        completion_tokens=answer or 0,
        total_tokens=(prompt or 0) + (answer or 0) if total is None else total,
        cached_tokens=_first_count(_CACHED, of_prompt, data),
        cache_creation_tokens=_first_count(_CACHE_CREATION, of_prompt, data),
        reasoning_tokens=_first_count(_REASONING, of_answer, data),
    )


# OpenAI, DeepSeek, and Anthropic behind a gateway; and who writes a cache at a price.
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
_CACHE_CREATION = ("cache_creation_tokens", "cache_creation_input_tokens", "cache_write_tokens")
_REASONING = ("reasoning_tokens",)


def _first_count(names: tuple[str, ...], *places: Any) -> int | None:
    """The first of these counts that one of the places, if it is an object, holds."""
    for place in places:
        if isinstance(place, dict):
            for name in names:
                if name in place and (count := _count(place[name])) is not None:
                    return count
    return None


def _count(value: Any) -> int | None:
    """A number of tokens; None for anything else, also for true and for less than none."""
    return value if type(value) is int and value >= 0 else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None

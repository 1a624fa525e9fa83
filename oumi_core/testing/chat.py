"""A chat completion as a server would send it, whole or in events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oumi_core.testing.received import Received

__all__ = ["chat_body", "chat_events"]

_ID = "chatcmpl-scripted"


def chat_body(
    request: Received,
    *,
    text: str | None,
    finish_reason: str,
    usage: tuple[int, int] | None,
    message: Mapping[str, Any],
    choice: Mapping[str, Any],
) -> dict[str, Any]:
    """The body of an answer; see `oumi_core.testing.completion` for the arguments."""
    content = request.last_text if text is None else text
    prompt, answer = usage or (len(request.last_text.split()), len(content.split()))
    return {
        "id": _ID,
        "object": "chat.completion",
        "created": 0,
        "model": request.field("model") or "scripted",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, **message},
                "finish_reason": finish_reason,
                **choice,
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
        },
    }


def chat_events(request: Received, body: Mapping[str, Any]) -> Iterator[bytes]:
    """The same answer as server-sent events: the text word by word, then what else there is."""
    chunk = {"id": body["id"], "object": "chat.completion.chunk", "model": body["model"]}
    choice = dict(body["choices"][0])
    message, reason = dict(choice.pop("message")), choice.pop("finish_reason")
    words = (message.pop("content", None) or "").split(" ")

    def event(delta: Mapping[str, Any], *, finish: str | None = None, **more: Any) -> bytes:
        one = {"index": 0, "delta": delta, "finish_reason": finish, **more}
        return _event({**chunk, "choices": [one]})

    yield event({"role": message.pop("role"), "content": ""})
    for at, word in enumerate(words):
        yield event({"content": f" {word}" if at else word})
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [{"index": at, **call} for at, call in enumerate(calls)]
    choice.pop("index", None)
    yield event(message, finish=reason, **choice)
    options = request.field("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield _event({**chunk, "choices": [], "usage": body["usage"]})
    yield b"data: [DONE]\n\n"


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"

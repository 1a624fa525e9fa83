"""Answers and failures as lines of batch output files: the way back of `decode_batch_line`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from oumi_core.types.completion import Completion, Usage
    from oumi_core.types.conversation import Message
    from oumi_core.types.failure import Failure

__all__ = ["encode_batch_answer", "encode_batch_failure"]

_encode_json = msgspec.json.Encoder().encode

_CODES: Final = {
    FailureKind.EXPIRED: "batch_expired",
    FailureKind.CANCELED: "batch_cancelled",
}


def encode_batch_answer(custom_id: str, completion: Completion) -> bytes:
    r"""An answer as a line of an output file, its `\n` included.

    Args:
        custom_id: the row.
        completion: the answer.
    """
    response = {
        "status_code": 200,
        "request_id": completion.request_id or "",
        "body": _body(completion),
    }
    return _line(custom_id, response, None)


def encode_batch_failure(custom_id: str, failure: Failure) -> bytes:
    r"""A failure as a line of an error file, its `\n` included.

    One with a status is the server's answer to the request; one without says why there was none.

    Args:
        custom_id: the row.
        failure: why it has no answer.
    """
    code = failure.code or _CODES.get(failure.kind, failure.kind.value)
    if failure.status is None:
        return _line(custom_id, None, {"code": code, "message": failure.message})
    error = {
        "message": failure.message,
        "type": failure.kind.value,
        "param": None,
        "code": failure.code,
    }
    response = {
        "status_code": failure.status,
        "request_id": failure.request_id or "",
        "body": {"error": error},
    }
    return _line(custom_id, response, None)


def _line(custom_id: str, response: Any, error: Any) -> bytes:
    line = {
        "id": f"batch_req_{custom_id}",
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return _encode_json(line) + b"\n"


def _body(completion: Completion) -> dict[str, Any]:
    choices = [_choice(0, completion.message, completion)]
    choices += [_choice(at, other) for at, other in enumerate(completion.alternatives, 1)]
    body: dict[str, Any] = {
        "id": completion.request_id or "",
        "object": "chat.completion",
        "model": completion.model,
        "choices": choices,
    }
    if completion.usage is not None:
        body["usage"] = _usage(completion.usage)
    return body


def _choice(index: int, message: Message, completion: Completion | None = None) -> dict[str, Any]:
    data = message.to_dict()
    data.pop("id", None)
    data.setdefault("content", None)
    data["refusal"] = None if completion is None else completion.refusal
    choice: dict[str, Any] = {"index": index, "message": data, "finish_reason": None}
    if completion is not None:
        choice["finish_reason"] = completion.finish_reason.value
        choice["logprobs"] = completion.logprobs
    return choice


def _usage(usage: Usage) -> dict[str, Any]:
    data: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    of_prompt = {
        "cached_tokens": usage.cached_tokens,
        "cache_creation_tokens": usage.cache_creation_tokens,
    }
    of_prompt = {name: count for name, count in of_prompt.items() if count is not None}
    if of_prompt:
        data["prompt_tokens_details"] = of_prompt
    if usage.reasoning_tokens is not None:
        data["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return data

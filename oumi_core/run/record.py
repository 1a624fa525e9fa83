"""What the journal keeps of a result besides its line, and the way back from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from oumi_core.types.completion import Completion, FinishReason, Usage
from oumi_core.types.conversation import Message
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.result import Result

if TYPE_CHECKING:
    from oumi_core.types.conversation import Conversation

__all__ = [
    "completion_from_dict",
    "completion_to_dict",
    "failure_from_dict",
    "record_of",
    "restored",
]

_encode = msgspec.json.Encoder().encode

_WHERE_KNOWN = (
    *("model", "request_id", "refusal", "logprobs"),
    *("time_to_first_token", "guided_backend"),
)
"""Fields of a completion that are left out where they are None."""


def record_of(result: Result, replaced: bytes | None = None, assumed: Usage | None = None) -> bytes:
    """The result as JSON, without what its line holds: the conversation and an accepted reply.

    Args:
        result: what is to be kept.
        replaced: the record of an earlier result of the row, whose tokens are not forgotten.
        assumed: the most that its answers took whose tokens nobody counted.
    """
    record: dict[str, Any] = {"attempts": result.attempts, "latency": result.latency}
    completion = result.completion
    if completion is not None:
        record["completion"] = _completion_fields(completion)
        if result.error is not None:
            record["completion"]["message"] = completion.message.to_dict()
    if result.error is not None:
        record["failure"] = result.error.to_dict()
    earlier = result.earlier_usage
    if replaced is not None:
        paid, assumed_before = _usages_of(replaced)
        assumed = _sum(assumed, assumed_before)
        if not result.reused:  # else this is the answer that was paid
            earlier = _sum(earlier, paid)
    if earlier is not None:
        record["earlier_usage"] = earlier.to_dict()
    if assumed is not None:
        record["assumed_usage"] = assumed.to_dict()
    return _encode(record)


def _usages_of(record: bytes) -> tuple[Usage | None, Usage | None]:
    """The tokens of all answers that a record is of: those counted, and those assumed."""
    try:
        fields = msgspec.json.decode(record)
        last = _usage((fields.get("completion") or {}).get("usage"))
        earlier, assumed = _usage(fields.get("earlier_usage")), _usage(fields.get("assumed_usage"))
    except (ValueError, AttributeError, TypeError):
        return None, None  # damaged: as good as none
    return _sum(last, earlier), assumed


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    return one + other if one is not None and other is not None else one or other


def _usage(fields: dict[str, int] | None) -> Usage | None:
    return Usage(**fields) if fields else None


def completion_to_dict(completion: Completion) -> dict[str, Any]:
    """A completion as JSON-ready data, its message included."""
    return {"message": completion.message.to_dict(), **_completion_fields(completion)}


def _completion_fields(completion: Completion) -> dict[str, Any]:
    # `.value` runs Python code: 0.1 us more.
    fields: dict[str, Any] = {"finish_reason": str(completion.finish_reason)}
    if completion.usage is not None:
        fields["usage"] = completion.usage.to_dict()
    if completion.alternatives:
        fields["alternatives"] = [message.to_dict() for message in completion.alternatives]
    for name in _WHERE_KNOWN:
        value = getattr(completion, name)
        if value is not None:
            fields[name] = value
    return fields


def restored(record: bytes, line: bytes, index: int, conversation: Conversation) -> Result:
    """A result as an earlier run recorded it, for a row of this one; its constraint not checked."""
    fields = msgspec.json.decode(record)
    failure = fields.get("failure")
    completion = fields.get("completion")
    if completion is not None and failure is None:
        completion["message"] = msgspec.json.decode(line)["messages"][-1]
    return Result(
        index=index,
        conversation=conversation,
        completion=completion_from_dict(completion) if completion else None,
        error=failure_from_dict(failure) if failure else None,
        attempts=fields["attempts"],
        latency=fields["latency"],
        reused=True,
        earlier_usage=_usage(fields.get("earlier_usage")),
    )


def completion_from_dict(data: dict[str, Any]) -> Completion:
    """The completion that `completion_to_dict` wrote."""
    fields = dict(data)
    return Completion(
        message=Message.from_dict(fields.pop("message")),
        finish_reason=FinishReason(fields.pop("finish_reason")),
        usage=_usage(fields.pop("usage", None)),
        alternatives=tuple(Message.from_dict(other) for other in fields.pop("alternatives", ())),
        **fields,
    )


def failure_from_dict(data: dict[str, Any]) -> Failure:
    """The failure that `Failure.to_dict` wrote."""
    fields = dict(data)
    del fields["retryable"]
    return Failure(FailureKind(fields.pop("kind")), **fields)

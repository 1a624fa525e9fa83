"""What became of each row of a batch, and how it is written down."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from oumi_core.run.record import completion_from_dict, completion_to_dict, failure_from_dict
from oumi_core.types.failure import FailureKind
from oumi_core.wire.batch import BatchLine

if TYPE_CHECKING:
    from oumi_core.types.completion import Completion
    from oumi_core.types.failure import Failure

__all__ = ["Outcome", "outcome_of", "read_outcome", "write_outcome"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Outcome(StrEnum):
    """What became of a row: exactly one of these."""

    OK = "ok"
    """It has an answer that was accepted."""
    FAILED = "failed"
    """It was refused, or its answer was."""
    EXPIRED = "expired"
    """The window closed before it was done."""
    CANCELED = "canceled"
    """The batch was stopped before it was done."""
    MISSING = "missing"
    """The batch has ended and says nothing of it."""


_BY_KIND = {
    FailureKind.EXPIRED: Outcome.EXPIRED,
    FailureKind.CANCELED: Outcome.CANCELED,
    FailureKind.MISSING: Outcome.MISSING,
}


def outcome_of(failure: Failure | None) -> Outcome:
    """The outcome of a row that failed so; of one that did not, `OK`."""
    return Outcome.OK if failure is None else _BY_KIND.get(failure.kind, Outcome.FAILED)


def write_outcome(
    completion: Completion | None, failure: Failure | None, custom_id: str | None = None
) -> bytes:
    """A row's completion and failure, whichever there are, as JSON."""
    data: dict[str, Any] = {} if custom_id is None else {"custom_id": custom_id}
    if completion is not None:
        data["completion"] = completion_to_dict(completion)
    if failure is not None:
        data["failure"] = failure.to_dict()
    return _encode(data)


def read_outcome(text: bytes) -> BatchLine:
    """What `write_outcome` wrote."""
    data = _decode(text)
    completion, failure = data.get("completion"), data.get("failure")
    return BatchLine(
        data.get("custom_id"),
        None if completion is None else completion_from_dict(completion),
        None if failure is None else failure_from_dict(failure),
    )

"""Failures are data: what went wrong with a row, in terms that a policy can decide by."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs

__all__ = ["Failure", "FailureKind"]


class FailureKind(StrEnum):
    """What kind of thing went wrong. The value is what files and `--json` show."""

    RATE_LIMIT = "rate_limit"
    """The server asks for less (429, 529, an overloaded 503)."""
    TRANSIENT = "transient"
    """It may well work the next time: 408, 409, 5xx, a connection or stream that broke."""
    TIMEOUT = "timeout"
    """No answer in the time allowed; the server may have done, and billed, the work."""
    BAD_REQUEST = "bad_request"
    """The engine cannot take this request: 400, 413, 422, a prompt longer than the context."""
    NOT_FOUND = "not_found"
    """The model, adapter or path does not exist (404)."""
    AUTH = "auth"
    """The key is missing, wrong, or not allowed to do this (401, 403)."""
    QUOTA = "quota"
    """The account has nothing left (402, and quota codes inside a 429)."""
    CONTENT_FILTER = "content_filter"
    """The provider's filter stopped the request or the answer."""
    REFUSAL = "refusal"
    """The model declined to answer in the form asked for."""
    TRUNCATED = "truncated"
    """The answer hit its token budget where a whole one was needed."""
    EMPTY = "empty"
    """The answer has neither text nor tool calls."""
    INVALID_OUTPUT = "invalid_output"
    """The answer does not fit its constraint."""
    ENGINE_DEAD = "engine_dead"
    """The engine's process or core is gone; no further row can be answered."""
    CANCELED = "canceled"
    """The row was given up before it had an answer."""
    EXPIRED = "expired"
    """A batch's window closed before this row was done."""
    MISSING = "missing"
    """A finished batch holds neither an answer nor an error for this row."""
    BUDGET = "budget"
    """The job has spent what its config allows; of no row, but of the run."""
    INTERNAL = "internal"
    """The engine raised something that is no `EngineError`: a defect in it."""


_RETRYABLE = frozenset(
    {
        FailureKind.RATE_LIMIT,
        FailureKind.TRANSIENT,
        FailureKind.TIMEOUT,
        FailureKind.ENGINE_DEAD,
        FailureKind.CANCELED,
        FailureKind.EXPIRED,
        FailureKind.MISSING,
        FailureKind.BUDGET,
    }
)
_STOPS_RUN = frozenset(
    {FailureKind.AUTH, FailureKind.QUOTA, FailureKind.ENGINE_DEAD, FailureKind.BUDGET}
)


@attrs.frozen
class Failure:
    """Why a row has no answer.

    Attributes:
        kind: the sort of failure.
        message: one line for a person: what happened and, where there is something, what to do.
            Never holds a key or a prompt.
        status: the HTTP status, where a server answered with one.
        code: the server's own word for it (`insufficient_quota`), as it sent it.
        retry_after: the least number of seconds that the server asks to wait; None without a hint.
        request_id: the server's id of the request, for its support.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    code: str | None = None
    retry_after: float | None = None
    request_id: str | None = None

    @property
    def retryable(self) -> bool:
        """True if the same row may succeed later without a change to it."""
        return self.kind in _RETRYABLE

    @property
    def stops_run(self) -> bool:
        """True if no other row can succeed now, so that none should be started."""
        return self.kind in _STOPS_RUN

    def to_dict(self) -> dict[str, Any]:
        """The failure as JSON-ready data, without the fields that say nothing."""
        fields = attrs.asdict(self, filter=lambda _, value: value is not None)
        return {**fields, "kind": self.kind.value, "retryable": self.retryable}

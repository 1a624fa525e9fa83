"""How far a batch is: its states, counts and errors, over all its parts."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BatchError",
    "BatchInfo",
    "BatchListResponse",
    "BatchStatus",
    "PartStatus",
    "RequestCounts",
    "as_status",
    "is_terminal",
]


class BatchStatus(StrEnum):
    """Where a batch stands; the values of OpenAI's Batch API."""

    VALIDATING = "validating"
    """It waits, or its lines are being checked."""
    IN_PROGRESS = "in_progress"
    """Its requests are being answered."""
    FINALIZING = "finalizing"
    """All is done but its results cannot be had yet."""
    COMPLETED = "completed"
    """It has ended; each row has an answer or an error."""
    FAILED = "failed"
    """It was refused as a whole, or broke off; finished rows can be had."""
    EXPIRED = "expired"
    """Its window closed before all rows were done; finished rows can be had."""
    CANCELLING = "cancelling"
    """It was asked to stop."""
    CANCELLED = "cancelled"
    """It was stopped; finished rows can be had."""


_TERMINAL = frozenset(
    {BatchStatus.COMPLETED, BatchStatus.FAILED, BatchStatus.EXPIRED, BatchStatus.CANCELLED}
)


def as_status(text: str) -> BatchStatus | str:
    """A provider's word for a state; one that is not known stays as it is."""
    try:
        return BatchStatus(text.lower())
    except ValueError:
        return text


def is_terminal(status: BatchStatus | str) -> bool:
    """True if a batch in this state changes no more; never for one that is not known."""
    return status in _TERMINAL


@attrs.frozen
class RequestCounts:
    """How many requests there are, and how many are done.

    Attributes:
        total: all of them.
        completed: those with an answer.
        failed: those with an error.
    """

    total: int = 0
    completed: int = 0
    failed: int = 0


@attrs.frozen
class BatchError:
    """Why a batch was refused, as a whole or for one of its lines.

    Attributes:
        message: the provider's words.
        code: its word for the sort of error; None if it gave none.
        line: the line of the part's file, from 1; None if it is about no single line.
        row: the row of the user's input, from 0; filled in by core.
    """

    message: str
    code: str | None = None
    line: int | None = None
    row: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON-ready data, without what is not known."""
        return attrs.asdict(self, filter=lambda _, value: value is not None)


@attrs.frozen
class PartStatus:
    """One part of a batch, as the backend that carries it sees it.

    Attributes:
        handle: the backend's own id of the part.
        status: where it stands; the backend's own word if that is not known.
        counts: how far it is; None if the backend does not say (yet).
        errors: why it was refused.
        token: the token that core gave it; None if it has none: then it is not of core.
        created_at: when the backend took it, in seconds since 1970; None if it does not say.
        expires_at: when its window closes; None if it does not say.
        output_file_id: where its answers are; None if nowhere.
        error_file_id: where its errors are; None if nowhere.
    """

    handle: str
    status: BatchStatus | str
    counts: RequestCounts | None = None
    errors: tuple[BatchError, ...] = ()
    token: str | None = None
    created_at: float | None = None
    expires_at: float | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def is_terminal(self) -> bool:
        """True if it changes no more."""
        return is_terminal(self.status)


@attrs.frozen
class BatchInfo:
    """A batch over all its parts.

    Attributes:
        id: its id, of core's own making.
        status: where it stands: the state of the parts if they agree, else that of those which
            are least far.
        total_requests: its rows.
        completed_requests: rows with an answer.
        failed_requests: rows without one, in parts that have ended, or counted as failed.
        engine: the engine that it was submitted to.
        batching: what carries it: `provider`, `local`, or a plugin's name.
        model: the model that answers.
        parts: how many parts it was split into.
        part_handles: the backend's own ids of the parts that it has.
        errors: why it, or a part of it, was refused.
        created_at: when it was submitted, in seconds since 1970.
        expires_at: when the first of its windows closes; None if the backend does not say.
        outcomes: rows by outcome (`ok`, `failed`, `expired`, `canceled`, `missing`), of those
            whose results have been fetched.
    """

    id: str
    status: BatchStatus | str
    total_requests: int
    completed_requests: int = 0
    failed_requests: int = 0
    engine: str = ""
    batching: str = ""
    model: str = ""
    parts: int = 1
    part_handles: tuple[str, ...] = ()
    errors: tuple[BatchError, ...] = ()
    created_at: float = 0.0
    expires_at: float | None = None
    outcomes: Mapping[str, int] = attrs.field(factory=dict)

    @property
    def is_terminal(self) -> bool:
        """True if it changes no more."""
        return is_terminal(self.status)

    @property
    def completion_percentage(self) -> float:
        """How much of it is answered, from 0 to 100."""
        if not self.total_requests:
            return 0.0
        return 100 * self.completed_requests / self.total_requests

    @property
    def has_errors(self) -> bool:
        """True if a row has failed, or a part was refused."""
        return self.failed_requests > 0 or bool(self.errors)

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON-ready data."""
        fields = attrs.asdict(self, recurse=False)
        return {
            **fields,
            "status": str(self.status),
            "part_handles": list(self.part_handles),
            "errors": [error.to_dict() for error in self.errors],
            "outcomes": dict(self.outcomes),
        }


@attrs.frozen
class BatchListResponse:
    """A page of the batches that this machine knows, the newest first.

    Attributes:
        batches: the batches, each as it was last seen.
        first_id: the first of them; None if there is none.
        last_id: the last of them, to give as `after` for the next page; None if there is none.
        has_more: True if there is another page.
    """

    batches: tuple[BatchInfo, ...]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False

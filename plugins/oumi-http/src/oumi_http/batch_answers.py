"""What a server says of files and batches, in core's terms. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import attrs
from oumi_core.batching.status import BatchError, PartStatus, RequestCounts, as_status
from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import failure_from_error

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TOKEN", "Page", "part_page", "part_status", "stored_id"]

TOKEN = "oumi_token"  # noqa: S105 - the name of a part's mark, no secret
"""The name in a batch's metadata under which core's token of the part stands."""


@attrs.frozen
class Page:
    """Some of the account's batches.

    Attributes:
        parts: those that could be read.
        following: the id after which the next page begins; None if this is the last.
    """

    parts: tuple[PartStatus, ...]
    following: str | None


def stored_id(data: Any, what: str) -> str:
    """The id that the server gave to a file or batch that it has just taken.

    Args:
        data: its decoded answer.
        what: what it has taken, for the error.

    Raises:
        EngineError: the answer is an error, or names no id.
    """
    found = data.get("id") if isinstance(data, dict) else None
    if not isinstance(found, str) or not found:
        _unexpected(data, f"an id of the {what}")
    return found


def part_status(data: Any) -> PartStatus:
    """A batch as the server describes it.

    What is null, empty or of another type than it should be counts as not said; only an id and a
    state must be there. A state that is not known stays as it is.

    Raises:
        EngineError: it is an error (some servers send one with status 200), or no batch.
    """
    fields: dict[str, Any] = data if isinstance(data, dict) else {}
    handle, status = fields.get("id"), fields.get("status")
    if not isinstance(handle, str) or not isinstance(status, str) or not handle:
        _unexpected(data, "a batch with its id and status")
    metadata = fields.get("metadata")
    return PartStatus(
        handle=handle,
        status=as_status(status),
        counts=_counts(fields.get("request_counts")),
        errors=tuple(_errors(fields.get("errors"))),
        token=_text(metadata.get(TOKEN)) if isinstance(metadata, dict) else None,
        created_at=_time(fields.get("created_at")),
        expires_at=_time(fields.get("expires_at")),
        output_file_id=_text(fields.get("output_file_id")),
        error_file_id=_text(fields.get("error_file_id")),
    )


def part_page(data: Any) -> Page:
    """A page of a list of batches. What is no batch in it is left out.

    Raises:
        EngineError: it is an error, or no list.
    """
    listed = data.get("data") if isinstance(data, dict) else None
    if not isinstance(listed, list):
        _unexpected(data, "a list of batches")
    parts = []
    for one in listed:
        try:
            parts.append(part_status(one))
        except EngineError:  # a batch of another kind than those asked for here
            continue
    following = None
    if parts and data.get("has_more") is True:
        following = _text(data.get("last_id")) or parts[-1].handle
    return Page(tuple(parts), following)


def _unexpected(data: Any, wanted: str) -> NoReturn:
    if isinstance(data, dict) and data.get("error"):
        raise EngineError(failure_from_error(None, data))
    raise EngineError(
        Failure(FailureKind.TRANSIENT, f"malformed answer of the server: expected {wanted}")
    )


def _counts(data: Any) -> RequestCounts | None:
    if not isinstance(data, dict):
        return None
    counts = (data.get(name) for name in ("total", "completed", "failed"))
    return RequestCounts(*(count if type(count) is int and count >= 0 else 0 for count in counts))


def _errors(data: Any) -> Iterator[BatchError]:
    """The batch's own errors: OpenAI has them in a list inside of an object."""
    if isinstance(data, dict):
        data = data.get("data")
    for one in data if isinstance(data, list) else ():
        if isinstance(one, dict):
            # Read as an error of a request is, so that keys in it are masked and it is one line.
            said = failure_from_error(None, {"error": one})
            line = one.get("line")
            yield BatchError(said.message, said.code, line if type(line) is int else None)


def _text(value: Any) -> str | None:
    """A text that says something; a clean batch has been seen with `"error_file_id": ""`."""
    return value if isinstance(value, str) and value else None


def _time(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) else None

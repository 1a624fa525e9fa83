"""Error answers of chat-completions servers, in each of their shapes, as failures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["failure_from_error", "masked"]

_SHOWN = 300
"""Characters of a server's message that are kept: it may quote the prompt."""

# Words of a server that say more than its status.
_BY_WORD = {
    FailureKind.QUOTA: (
        "insufficient_quota",
        "insufficient_balance",
        "insufficient_credits",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "payment_required",
    ),
    FailureKind.AUTH: (
        "invalid_api_key",
        "authentication_error",
        "permission_error",
        "account_deactivated",
    ),
    FailureKind.CONTENT_FILTER: (
        "content_filter",
        "content_policy_violation",
        "responsibleaipolicyviolation",
    ),
    FailureKind.BAD_REQUEST: (
        "context_length_exceeded",
        "exceed_context_size_error",
        "string_above_max_length",
        "not_supported_error",  # llama.cpp and vLLM send 501 for what they will never do
        "notimplementederror",
    ),
    FailureKind.NOT_FOUND: ("model_not_found", "deploymentnotfound", "not_found_error"),
    FailureKind.RATE_LIMIT: (
        "rate_limit_exceeded",
        "rate_limit_error",
        "slow_down",
        "server_is_overloaded",
        "overloaded_error",
    ),
    FailureKind.EXPIRED: ("batch_expired",),
    FailureKind.CANCELED: ("batch_cancelled", "batch_canceled"),
}
# Words that come with several statuses, and so count only where there is none.
_BY_VAGUE_WORD = {
    FailureKind.BAD_REQUEST: (
        "invalid_request_error",
        "badrequesterror",
        "invalid_argument",
        "failed_precondition",
    ),
    FailureKind.NOT_FOUND: ("notfounderror", "not_found"),
    FailureKind.AUTH: ("permission_denied", "unauthenticated", "unauthorized"),
    FailureKind.RATE_LIMIT: ("resource_exhausted", "too_many_requests"),
}
_KINDS = {word: kind for kind, words in _BY_WORD.items() for word in words}
_VAGUE_KINDS = {word: kind for kind, words in _BY_VAGUE_WORD.items() for word in words}

_BY_STATUS = {
    401: FailureKind.AUTH,
    402: FailureKind.QUOTA,
    403: FailureKind.AUTH,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.TRANSIENT,
    409: FailureKind.TRANSIENT,
    410: FailureKind.NOT_FOUND,
    425: FailureKind.TRANSIENT,
    429: FailureKind.RATE_LIMIT,
    529: FailureKind.RATE_LIMIT,
}
_ERRORS = range(300, 600)
_SERVER_ERRORS = 500
_BAD_REQUEST, _TOO_MANY, _UNAVAILABLE = 400, 429, 503

# The plain word "quota" proves nothing: Azure's advice for a rate limit links to /quotaincrease.
_QUOTA_TEXT = re.compile(
    r"current quota|billing details|insufficient (?:balance|credit|fund|quota)"
    r"|credit balance|(?:spend|spending|usage) limit",
    re.IGNORECASE,
)
_OVERLOAD_TEXT = re.compile(r"overload|slow down|queue|too many requests", re.IGNORECASE)
# OpenAI says this of bodies that were broken on the way; the same row passes the next time.
_BROKEN_BODY_TEXT = re.compile(r"could not parse the json body", re.IGNORECASE)
_TITLE = re.compile(r"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)

_SECRETS = (
    re.compile(r"(\bbearer\s+)[^\s\"',]+", re.IGNORECASE),
    re.compile(r"(\bapi[ _-]?key(?: provided)?[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]+", re.IGNORECASE),
    re.compile(r"(\b(?:(?:sk|pk|rk|gsk|hf|xai|csk|nvapi)[-_]|AIza))[\w*.-]{8,}"),
)


def masked(text: str) -> str:
    """The text with `***` for everything that looks like a key or a token."""
    for secret in _SECRETS:
        text = secret.sub(r"\1***", text)
    return text


def failure_from_error(
    status: int | None,
    body: Any,
    *,
    retry_after: float | None = None,
    request_id: str | None = None,
) -> Failure:
    """What an error answer means.

    Knows `{"error": {...}}`, `{"error": "..."}`, flat `{"message": ...}`, FastAPI's
    `{"detail": ...}`, Gemini's `[{"error": ...}]`, and plain or HTML text. The message is the
    server's, in one line of at most 300 characters, with keys masked.

    Args:
        status: the HTTP status; None if there is none (an error in a stream or in this process).
        body: the decoded JSON, or the text that came in its place.
        retry_after: the seconds to wait that the headers ask for. A longer wait that the body
            asks for (Gemini's `RetryInfo`) wins.
        request_id: the server's id of the request, from the headers.
    """
    error = _read(body)
    if error.status is not None and (status is None or status not in _ERRORS):
        status = error.status
    hints = [hint for hint in (retry_after, error.retry_after) if hint is not None]
    return Failure(
        kind=_kind(status, error),
        message=_one_line(error.message) or _no_reason(status),
        status=status,
        code=_one_line(error.words[0]) if error.words else None,
        retry_after=max(hints, default=None),
        request_id=request_id,
    )


@attrs.frozen
class _Error:
    """What all shapes of an error answer come down to.

    Attributes:
        message: the text for a person; may be empty.
        words: the server's own words for it, the most exact first.
        status: an HTTP status given in the body.
        retry_after: seconds to wait, given in the body.
        quota_id: Gemini's name of the quota that was hit; None elsewhere.
    """

    message: str
    words: tuple[str, ...] = ()
    status: int | None = None
    retry_after: float | None = None
    quota_id: str | None = None


def _read(body: Any) -> _Error:
    if isinstance(body, list):
        body = body[0] if body else None
    if isinstance(body, bytes):
        body = body.decode(errors="replace")
    if isinstance(body, dict):
        error = body.get("error")
        if isinstance(error, dict):
            return _read_object(error)
        return _read_object({**body, "message": error} if isinstance(error, str) else body)
    if isinstance(body, str):
        title = _TITLE.search(body)
        return _Error(title[1] if title else body)
    return _Error("")


def _read_object(error: dict[str, Any]) -> _Error:
    retry_after, quota_id = _google_details(error.get("details"))
    return _Error(
        message=_text(error.get("message")) or _text(error.get("detail")),
        words=tuple(_words(error)),
        status=_status(error.get("code")) or _status(error.get("status")),
        retry_after=retry_after,
        quota_id=quota_id,
    )


def _text(value: Any) -> str:
    """A message; a list of FastAPI's faults as `place: fault`, without the input it quotes."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    faults = [entry for entry in value if isinstance(entry, dict)]
    return "; ".join(
        ": ".join(part for part in (_place(fault.get("loc")), _text(fault.get("msg"))) if part)
        for fault in faults
    )


def _place(value: Any) -> str:
    return ".".join(str(part) for part in value) if isinstance(value, list) else ""


def _words(error: dict[str, Any]) -> Iterator[str]:
    for name in ("code", "type", "status"):
        word = error.get(name)
        if isinstance(word, str) and word and not word.isdecimal():
            yield word
    inner = error.get("innererror")  # Azure: the filter's word stands one level deeper
    if isinstance(inner, dict):
        yield from _words(inner)


def _status(value: Any) -> int | None:
    """An HTTP status out of an error's `code`, which may be a number, digits or a word."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value) if len(value) == len("404") else None
    return value if type(value) is int and value in _ERRORS else None


def _google_details(details: Any) -> tuple[float | None, str | None]:
    """The wait (`"38s"`) and the name of the quota that Google's APIs put into `details`."""
    retry_after = quota_id = None
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and re.fullmatch(r"\d{1,9}(\.\d+)?s", delay, re.ASCII):
            retry_after = float(delay[:-1])
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict) and isinstance(violation.get("quotaId"), str):
                quota_id = violation["quotaId"]
    return retry_after, quota_id


def _kind(status: int | None, error: _Error) -> FailureKind:
    words = [word.lower() for word in error.words]
    known = next((_KINDS[word] for word in words if word in _KINDS), None)
    if known is not None:
        return known
    if status is None or status not in _ERRORS:
        vague = (_VAGUE_KINDS[word] for word in words if word in _VAGUE_KINDS)
        return next(vague, FailureKind.TRANSIENT)
    if status == _TOO_MANY and _is_quota(error):
        return FailureKind.QUOTA
    if status == _UNAVAILABLE and _OVERLOAD_TEXT.search(error.message):
        return FailureKind.RATE_LIMIT
    if status == _BAD_REQUEST and _BROKEN_BODY_TEXT.search(error.message):
        return FailureKind.TRANSIENT
    usual = FailureKind.BAD_REQUEST if status < _SERVER_ERRORS else FailureKind.TRANSIENT
    return _BY_STATUS.get(status, usual)


def _is_quota(error: _Error) -> bool:
    # Gemini speaks of "your current quota" for a minute's too; only a day's is worth stopping for.
    if error.quota_id is not None:
        return "perday" in error.quota_id.lower()
    return error.retry_after is None and _QUOTA_TEXT.search(error.message) is not None


def _one_line(text: str) -> str:
    # Masked before it is cut, so that no half of a key is left at the end.
    line = masked(" ".join(text.split()))
    return line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "..."


def _no_reason(status: int | None) -> str:
    if status is None:
        return "the server answered with an error that it does not explain"
    return f"the server answered HTTP {status} and gave no reason"

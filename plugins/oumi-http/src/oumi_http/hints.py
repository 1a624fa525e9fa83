"""What the headers of an answer say: how long to wait, and the request's id. Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["request_id", "retry_after"]

_LIMITS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
)
"""Pairs of headers: what is left of a limit, and when it is whole again."""

_REQUEST_IDS = (
    "x-request-id",
    "request-id",
    "x-ms-request-id",
    "apim-request-id",
    "x-amzn-requestid",
    "x-correlation-id",
    "cf-ray",
)
"""Headers with a request's id: the server's own first, then those of what stands before it."""

_NUMBER = re.compile(r"\d{1,15}(\.\d*)?", re.ASCII)
_SPAN = re.compile(
    r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d*)?)(ms|s))?", re.ASCII
)
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60
_EPOCH_SECONDS, _EPOCH_MS = 1e9, 1e12
"""Numbers from here on are points in time, since no wait is that long."""


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """The seconds for which the server asks to be left alone.

    The first of these that says something: `retry-after-ms`; `retry-after` in seconds or as a
    date; the reset of each limit of which nothing remains, the latest of them. What is negative,
    zero, past or unreadable says nothing.

    Args:
        headers: by name; lower-case names must find them, whatever their case on the wire.
        now: the present, with its time zone.

    Returns:
        Seconds above 0; None without a hint.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds:
        return milliseconds / 1000
    hint = headers.get("retry-after")
    wait = _number(hint) or _until(hint, now)
    return wait or max(_resets(headers, now), default=None)


def request_id(headers: Mapping[str, str]) -> str | None:
    """The id under which the server's support knows the request; None if it has none."""
    for name in _REQUEST_IDS:
        if value := headers.get(name):
            return value
    return None


def _number(text: str | None) -> float | None:
    """A plain number, not negative; None for anything else."""
    text = (text or "").strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _resets(headers: Mapping[str, str], now: datetime) -> Iterator[float]:
    for remaining, reset in _LIMITS:
        if _number(headers.get(remaining)) == 0:
            wait = _span(headers.get(reset), now)
            if wait:
                yield wait


def _span(text: str | None, now: datetime) -> float | None:
    """A wait as `59.8s`, `6m0s`, `120ms`, seconds, a point in time as a number or as a date."""
    number = _number(text)
    if number is not None:
        if number >= _EPOCH_MS:
            number /= 1000
        return number - now.timestamp() if number >= _EPOCH_SECONDS else number
    match = _SPAN.fullmatch((text or "").strip())
    if match is None:
        return _until(text, now)
    days, hours, minutes, seconds, unit = match.groups(default="0")
    last = float(seconds) / (1000 if unit == "ms" else 1)
    wait = int(days) * _DAY + int(hours) * _HOUR + int(minutes) * _MINUTE + last
    return wait if math.isfinite(wait) else None


def _until(text: str | None, now: datetime) -> float | None:
    """The seconds up to a date of HTTP or RFC 3339; None if it is past, or no date."""
    if not text:
        return None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(text.strip())
        except (ValueError, OverflowError):
            continue
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        wait = (when - now).total_seconds()
        return wait if wait > 0 else None
    return None

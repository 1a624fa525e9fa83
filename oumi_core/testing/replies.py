"""The lines of a `FaultServer`'s script: what it does with one request."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from oumi_core.testing.chat import chat_body, chat_events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oumi_core.testing.received import Received

__all__ = [
    "Ending",
    "Entry",
    "Reply",
    "close_early",
    "completion",
    "cut_body",
    "cut_stream",
    "error",
    "models",
    "raw",
    "redirect",
    "reply_to",
    "slow_drip",
    "stall",
    "too_many",
]


class Ending(Enum):
    """What happens to the connection when all pieces of a reply are sent."""

    KEEP = "keep"
    """It is used again, as HTTP/1.1 has it."""
    CLOSE = "close"
    """It is closed, whether the body was whole or not."""
    HANG = "hang"
    """It stays open, silent, until the client gives up or the server is closed."""


@attrs.frozen
class Reply:
    """The bytes that go out for one request, when, and what follows.

    Attributes:
        status: the HTTP status; None sends nothing at all, not even a head.
        headers: sent as they are, after those that the framing needs.
        pieces: the body, in the pieces that it is written in.
        chunked: frame the body in chunks instead of with `Content-Length`.
        content_length: another length than that of the pieces; None for the true one; 0 sends
            no length at all, so that only the end of the connection ends the body.
        delay: seconds before the first byte.
        pause: seconds between two pieces.
        ending: what follows the last piece.
    """

    status: int | None = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    pieces: tuple[bytes, ...] = ()
    chunked: bool = False
    content_length: int | None = None
    delay: float = 0.0
    pause: float = 0.0
    ending: Ending = Ending.KEEP


Entry: TypeAlias = "Reply | Callable[[Received], Entry]"
"""A line of a script: a reply, or a function that makes one, or another line, of the request."""


def reply_to(request: Received, entry: Entry) -> Reply:
    """What a line of a script says to a request."""
    while not isinstance(entry, Reply):
        entry = entry(request)
    return entry


_JSON = "application/json"


def completion(
    text: str | None = None,
    *,
    finish_reason: str = "stop",
    usage: tuple[int, int] | None = None,
    message: Mapping[str, Any] | None = None,
    choice: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    delay: float = 0.0,
    pause: float = 0.0,
) -> Entry:
    """A good answer: in one body, or as a stream where the request says `stream`.

    Args:
        text: the answer; by default the text of the last message comes back.
        finish_reason: why the answer ends.
        usage: tokens of prompt and answer; by default their words.
        message: more fields of the message, such as `tool_calls`, or others for its own.
        choice: more fields of the choice, such as `logprobs`.
        headers: more headers.
        delay: seconds before the first byte.
        pause: seconds between two events of a stream.
    """

    def make(request: Received) -> Reply:
        body = chat_body(
            request,
            text=text,
            finish_reason=finish_reason,
            usage=usage,
            message=message or {},
            choice=choice or {},
        )
        if not request.wants_stream:
            return attrs.evolve(_json_reply(200, body, headers), delay=delay)
        return Reply(
            headers={"Content-Type": "text/event-stream", **(headers or {})},
            pieces=tuple(chat_events(request, body)),
            chunked=True,
            delay=delay,
            pause=pause,
        )

    return make


def models(*names: str) -> Reply:
    """The answer to `GET /models`."""
    listed = [{"id": name, "object": "model"} for name in names]
    return _json_reply(200, {"object": "list", "data": listed})


def error(
    status: int,
    message: str = "scripted failure",
    *,
    code: str | None = None,
    error_type: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """An error in OpenAI's shape; for other shapes there is `raw`."""
    fault = {"message": message, "type": error_type, "param": None, "code": code}
    return _json_reply(status, {"error": fault}, headers)


def too_many(
    retry_after: float | datetime | str | None = None,
    *,
    retry_after_ms: float | None = None,
    headers: Mapping[str, str] | None = None,
    status: int = 429,
    code: str = "rate_limit_exceeded",
) -> Reply:
    """A rate limit, with the hints of when to come again.

    Args:
        retry_after: `Retry-After`: seconds, a point in time (sent as an HTTP-date), or a text
            that is sent as it is.
        retry_after_ms: `retry-after-ms`.
        headers: other hints, such as `x-ratelimit-reset-requests`.
        status: 429, or what else says the same.
        code: the server's word for it.
    """
    hints: dict[str, str] = {}
    if isinstance(retry_after, datetime):
        hints["Retry-After"] = format_datetime(retry_after.astimezone(UTC), usegmt=True)
    elif retry_after is not None:
        hints["Retry-After"] = str(retry_after)
    if retry_after_ms is not None:
        hints["retry-after-ms"] = str(retry_after_ms)
    return error(status, "too many requests", code=code, headers={**hints, **(headers or {})})


def raw(
    body: bytes | str,
    *,
    status: int = 200,
    content_type: str | None = _JSON,
    headers: Mapping[str, str] | None = None,
    ending: Ending = Ending.KEEP,
) -> Reply:
    """Any body under any type: JSON that is none, a proxy's page, another server's error.

    Args:
        body: the body; a text is sent as UTF-8.
        status: the HTTP status.
        content_type: `Content-Type`; None leaves it out.
        headers: more headers.
        ending: with `HANG`, no length is sent and the connection never closes, so that the whole
            body is there and its end never comes.
    """
    data = body.encode() if isinstance(body, str) else body
    typed = {} if content_type is None else {"Content-Type": content_type}
    return Reply(
        status=status,
        headers={**typed, **(headers or {})},
        pieces=(data,),
        content_length=0 if ending is Ending.HANG else None,
        ending=ending,
    )


def redirect(location: str, *, status: int = 307) -> Reply:
    """Send the client elsewhere."""
    return Reply(status=status, headers={"Location": location})


def stall() -> Reply:
    """Never answer; the connection stays open until one side closes it."""
    return Reply(status=None, ending=Ending.HANG)


def close_early() -> Reply:
    """Close the connection in place of an answer."""
    return Reply(status=None, ending=Ending.CLOSE)


def cut_body(entry: Entry | None = None, *, after: int = 20) -> Entry:
    """Promise the whole body of `entry` (a good answer by default), break off inside it.

    Args:
        entry: a line whose body comes in one piece.
        after: bytes of the body that are sent.
    """

    def cut(reply: Reply) -> Reply:
        whole = b"".join(reply.pieces)
        return attrs.evolve(
            reply,
            pieces=(whole[:after],),
            content_length=len(whole),
            ending=Ending.CLOSE,
        )

    return _changed(entry, cut)


def cut_stream(entry: Entry | None = None, *, after: int = 2, clean: bool = False) -> Entry:
    """Break off a stream between two events: no finish reason, no `[DONE]`.

    Args:
        entry: a line that streams; a good answer by default.
        after: events that are sent.
        clean: end the HTTP body in good order, so that only what is missing from the stream
            tells; otherwise the connection breaks.
    """

    def cut(reply: Reply) -> Reply:
        ending = Ending.KEEP if clean else Ending.CLOSE
        return attrs.evolve(reply, pieces=reply.pieces[:after], ending=ending)

    return _changed(entry, cut)


def slow_drip(entry: Entry | None = None, *, pause: float, size: int = 1) -> Entry:
    """Send the body of `entry` (a good answer by default) a few bytes at a time.

    Args:
        entry: what to send.
        pause: seconds between two pieces.
        size: bytes of a piece.
    """

    def drip(reply: Reply) -> Reply:
        whole = b"".join(reply.pieces)
        pieces = tuple(whole[at : at + size] for at in range(0, len(whole), size))
        return attrs.evolve(reply, pieces=pieces, pause=pause)

    return _changed(entry, drip)


def _changed(entry: Entry | None, change: Callable[[Reply], Reply]) -> Entry:
    chosen = completion() if entry is None else entry

    def make(request: Received) -> Reply:
        return change(reply_to(request, chosen))

    return make


def _json_reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    typed = {"Content-Type": _JSON, **(headers or {})}
    return Reply(status=status, headers=typed, pieces=(json.dumps(body).encode(),))

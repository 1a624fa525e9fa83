"""Each way in which a server fails, as the one failure that the retry policy decides by."""

from __future__ import annotations

import asyncio
import socket
import traceback
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.errors import EngineError
from oumi_core.testing import (
    Ending,
    FaultServer,
    close_early,
    completion,
    cut_body,
    cut_stream,
    error,
    raw,
    redirect,
    slow_drip,
    stall,
    too_many,
)
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Asks, Started
    from oumi_core.testing.replies import Entry

KEY = "sk-very-secret-0123456789"
IN_QUERY = "t0p-5ecret"

GEMINI = (
    '[{"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED", '
    '"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38s"}]}}]'
)
PAGE = "<!DOCTYPE html><html><head><title>Sign in to the proxy</title></head></html>"


def outcome(
    started: Started,
    asks: Asks,
    script: Sequence[Entry],
    *,
    streamed: bool = False,
    **settings: Any,
) -> Failure:
    """The failure of the one request that meets the script; the server is asked once."""

    async def main(url: str) -> None:
        async with started(url, api_key=KEY, **settings) as engine:
            if streamed:
                async for _ in engine.stream(asks()):
                    pass
            else:
                await engine.complete(asks())

    with FaultServer(script) as server:
        with pytest.raises(EngineError) as caught:
            asyncio.run(main(f"{server.url}/v1?token={IN_QUERY}"))
    assert len(server.requests) == 1
    told = "".join(traceback.format_exception(caught.value))
    assert KEY not in told
    assert IN_QUERY not in told
    return caught.value.failure


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("line", "expected", "text"),
    [
        (
            error(429, "slow down", code="rate_limit_exceeded"),
            (FailureKind.RATE_LIMIT, 429, "rate_limit_exceeded"),
            "slow down",
        ),
        (
            error(429, "pay", code="insufficient_quota", error_type="insufficient_quota"),
            (FailureKind.QUOTA, 429, "insufficient_quota"),
            "pay",
        ),
        (
            error(401, f"Incorrect API key provided: {KEY}", code="invalid_api_key"),
            (FailureKind.AUTH, 401, "invalid_api_key"),
            "Incorrect API key provided: ***",
        ),
        (error(403, "no"), (FailureKind.AUTH, 403, None), "no"),
        (error(404, "no model"), (FailureKind.NOT_FOUND, 404, None), "no model"),
        (
            error(400, "too long", code="context_length_exceeded"),
            (FailureKind.BAD_REQUEST, 400, "context_length_exceeded"),
            "too long",
        ),
        (error(413, "too big"), (FailureKind.BAD_REQUEST, 413, None), "too big"),
        (error(500, "oops"), (FailureKind.TRANSIENT, 500, None), "oops"),
        (error(503, "overloaded"), (FailureKind.RATE_LIMIT, 503, None), "overloaded"),
        (error(529, "busy"), (FailureKind.RATE_LIMIT, 529, None), "busy"),
        (
            raw('{"object": "error", "message": "flat", "code": 404}', status=404),
            (FailureKind.NOT_FOUND, 404, None),
            "flat",
        ),
        (
            raw('{"detail": [{"loc": ["body", "x"], "msg": "bad"}]}', status=422),
            (FailureKind.BAD_REQUEST, 422, None),
            "body.x: bad",
        ),
        (
            raw(
                "<html><title>502 Bad Gateway</title></html>", status=502, content_type="text/html"
            ),
            (FailureKind.TRANSIENT, 502, None),
            "502 Bad Gateway",
        ),
        (
            raw('{"error": {"message": "inside a 200", "code": 429}}'),
            (FailureKind.RATE_LIMIT, 429, None),
            "inside a 200",
        ),
    ],
)
def test_an_error_in_each_servers_shape(
    started: Started,
    asks: Asks,
    line: Entry,
    expected: tuple[FailureKind, int, str | None],
    text: str,
    *,
    streamed: bool,
) -> None:
    failure = outcome(started, asks, [line], streamed=streamed)
    assert (failure.kind, failure.status, failure.code) == expected
    assert text in failure.message


@pytest.mark.parametrize(
    ("line", "low", "high"),
    [
        (too_many(2), 2, 2),
        (too_many(0.5), 0.5, 0.5),
        (too_many(9, retry_after_ms=1500), 1.5, 1.5),
        (too_many(datetime.now(UTC) + timedelta(days=1)), 80_000, 86_400),
        (
            too_many(
                headers={
                    "x-ratelimit-remaining-tokens": "0",
                    "x-ratelimit-reset-tokens": "6m0s",
                }
            ),
            360,
            360,
        ),
        (raw(GEMINI, status=429), 38, 38),
    ],
)
def test_hints_are_kept(started: Started, asks: Asks, line: Entry, low: float, high: float) -> None:
    failure = outcome(started, asks, [line])
    assert failure.kind is FailureKind.RATE_LIMIT
    assert failure.retry_after is not None
    assert low <= failure.retry_after <= high


def test_the_request_id_of_an_error_is_kept(started: Started, asks: Asks) -> None:
    line = error(500, "oops", headers={"X-Request-Id": "req-7"})
    assert outcome(started, asks, [line]).request_id == "req-7"
    broken = raw("{nope", headers={"X-Request-Id": "req-8"})
    assert outcome(started, asks, [broken]).request_id == "req-8"
    cut = cut_stream(completion("a b c", headers={"X-Request-Id": "req-9"}), clean=True)
    assert outcome(started, asks, [cut], streamed=True).request_id == "req-9"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (close_early(), "was closed before the answer"),
        (cut_body(), "was closed inside the answer"),
        (raw("{nope"), "not JSON"),
        (raw(""), "it is empty"),
        (raw("[1]"), "malformed answer"),
        (raw('{"choices": []}'), "malformed answer"),
        (raw(PAGE, content_type="text/html"), "a web page titled 'Sign in to the proxy'"),
        (raw(PAGE), "a web page"),
        (raw("[" * 100_000), "nested too deeply"),
        (raw(b'{"choices": "caf\xe9"}'), "not UTF-8: 'utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_an_answer_that_is_none_may_be_asked_for_again(
    started: Started, asks: Asks, line: Entry, text: str
) -> None:
    failure = outcome(started, asks, [line])
    assert failure.kind is FailureKind.TRANSIENT
    assert text in failure.message


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (cut_stream(completion("a b c d")), "was closed inside the answer"),
        (cut_stream(completion("a b c d"), clean=True), "broke off"),
        (cut_stream(completion("a b c d"), after=0, clean=True), "broke off"),
        (close_early(), "was closed before the answer"),
        (raw("data: {nope\n\n", content_type="text/event-stream"), "not JSON"),
    ],
)
def test_a_stream_that_breaks_off_is_noticed(
    started: Started, asks: Asks, line: Entry, text: str
) -> None:
    failure = outcome(started, asks, [line], streamed=True)
    assert failure.kind is FailureKind.TRANSIENT
    assert text in failure.message


def test_an_error_inside_a_stream(started: Started, asks: Asks) -> None:
    events = 'data: {"error": {"message": "overloaded", "code": "server_is_overloaded"}}\n\n'
    failure = outcome(started, asks, [raw(events, content_type="text/event-stream")], streamed=True)
    assert (failure.kind, failure.message) == (FailureKind.RATE_LIMIT, "overloaded")


def test_json_under_a_wrong_type_is_taken(started: Started, asks: Asks) -> None:
    async def main() -> str:
        async with started(server.url) as engine:
            return (await engine.complete(asks())).text

    body = '{"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]}'
    with FaultServer([raw(body, content_type="text/plain")]) as server:
        assert asyncio.run(main()) == "fine"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        stall(),
        raw('{"choices": []}', ending=Ending.HANG),
        slow_drip(completion(), pause=0.2),
    ],
)
def test_what_takes_too_long_is_given_up(
    started: Started, asks: Asks, line: Entry, *, streamed: bool
) -> None:
    failure = outcome(started, asks, [line], streamed=streamed, connection_timeout=0.3)
    assert failure.kind is FailureKind.TIMEOUT
    assert "within 0.3 s (remote_params.connection_timeout)" in failure.message


def test_a_redirect_is_not_followed_with_the_key(started: Started, asks: Asks) -> None:
    with FaultServer() as other:
        line = redirect(f"{other.url}/v1/chat/completions?token={IN_QUERY}")
        failure = outcome(started, asks, [line])
        assert other.requests == ()
    assert (failure.kind, failure.status) == (FailureKind.NOT_FOUND, 307)
    assert f"sends requests on to {other.url}/v1/chat/completions" in failure.message


def test_a_server_that_is_not_there(started: Started, asks: Asks) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def main() -> None:
        async with started(f"http://127.0.0.1:{port}/v1?token={IN_QUERY}") as engine:
            await engine.complete(asks())

    with pytest.raises(EngineError) as caught:
        asyncio.run(main())
    failure = caught.value.failure
    assert failure.kind is FailureKind.TRANSIENT
    assert failure.message.startswith(f"no connection to http://127.0.0.1:{port}: ")
    assert IN_QUERY not in failure.message


def test_a_name_that_does_not_resolve(started: Started, asks: Asks) -> None:
    async def main() -> None:
        async with started("http://nowhere.invalid") as engine:
            await engine.complete(asks())

    with pytest.raises(EngineError, match="no connection to http://nowhere") as caught:
        asyncio.run(main())
    assert caught.value.failure.kind is FailureKind.TRANSIENT


def test_no_valid_http_is_a_broken_connection(started: Started, asks: Asks) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(babble, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, started(f"http://127.0.0.1:{port}") as engine:
            await engine.complete(asks())

    with pytest.raises(EngineError, match="no valid HTTP") as caught:
        asyncio.run(main())
    assert caught.value.failure.kind is FailureKind.TRANSIENT

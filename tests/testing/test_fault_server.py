"""What `FaultServer` sends, breaks, counts and remembers, seen through plain sockets."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest

from oumi_core.testing import (
    Ending,
    FaultServer,
    Received,
    Reply,
    close_early,
    completion,
    cut_body,
    cut_stream,
    error,
    models,
    raw,
    redirect,
    slow_drip,
    stall,
    too_many,
)
from oumi_core.types.completion import FinishReason, Usage
from oumi_core.wire import SSEParser, StreamAssembler, decode_completion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from oumi_core.testing.replies import Entry

CHAT = "/v1/chat/completions"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "two words"}]}
STREAMED = {**QUESTION, "stream": True, "stream_options": {"include_usage": True}}


def connect(server: FaultServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)


def ask(
    server: FaultServer, body: Any = QUESTION, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = connect(server)
    try:
        connection.request("POST", CHAT, json.dumps(body), headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_a_good_answer_echoes_the_last_message_and_counts_its_words() -> None:
    with FaultServer() as server:
        response, body = ask(server)
    answer = decode_completion(json.loads(body))
    assert response.status == 200
    assert (answer.text, answer.usage, answer.model) == ("two words", Usage(2, 2), "m")


def test_a_good_answer_says_what_the_script_says() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    line = completion("text", finish_reason="tool_calls", message={"tool_calls": [call]})
    with FaultServer([line]) as server:
        answers = [decode_completion(json.loads(ask(server)[1]))]
        answers.append(decode_completion(json.loads(ask(server)[1])))
    assert answers[0].text == "text"
    assert answers[0].finish_reason is FinishReason.TOOL_CALLS
    assert [made.function.name for made in answers[0].message.tool_calls or ()] == ["f"]
    assert answers[1].text == "two words"


def assembled(body: bytes) -> StreamAssembler:
    parser, assembler = SSEParser(), StreamAssembler()
    for event in parser.feed(body):
        assembler.feed_event(event)
    return assembler


def test_a_request_for_a_stream_gets_one() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    line = completion("one two three", usage=(7, 8), message={"tool_calls": [call]})
    with FaultServer([line]) as server:
        response, body = ask(server, STREAMED)
    answer = assembled(body).finish()
    assert response.headers["Content-Type"] == "text/event-stream"
    assert (answer.text, answer.usage) == ("one two three", Usage(7, 8))
    assert [made.id for made in answer.message.tool_calls or ()] == ["1"]


@pytest.mark.parametrize("clean", [True, False])
def test_a_cut_stream_has_no_end(*, clean: bool) -> None:
    with FaultServer([cut_stream(completion("a b c d"), clean=clean)]) as server:
        try:
            body = ask(server, STREAMED)[1]
            assert clean
        except http.client.IncompleteRead as cut:
            assert not clean
            body = cut.partial
    assert b"[DONE]" not in body
    assert b'finish_reason": null' in body


def test_a_cut_body_is_shorter_than_its_length_says() -> None:
    with FaultServer([cut_body(after=5)]) as server:
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(server)
    assert len(caught.value.partial) == 5


def test_closing_early_sends_nothing() -> None:
    with FaultServer([close_early()]) as server:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server)
    assert len(server.requests) == 1


def test_a_slow_drip_sends_all_of_it() -> None:
    with FaultServer([slow_drip(completion("drip"), pause=0.001, size=40)]) as server:
        body = ask(server)[1]
    assert decode_completion(json.loads(body)).text == "drip"


@pytest.mark.parametrize(
    ("line", "content_type", "body"),
    [
        (raw("{nope"), "application/json", b"{nope"),
        (raw("{}", content_type="text/plain"), "text/plain", b"{}"),
        (raw("<html>", content_type="text/html"), "text/html", b"<html>"),
        (raw(b"{}", content_type=None), None, b"{}"),
    ],
)
def test_raw_sends_any_body_under_any_type(
    line: Reply, content_type: str | None, body: bytes
) -> None:
    with FaultServer([line]) as server:
        response, received = ask(server)
    assert (response.headers["Content-Type"], received) == (content_type, body)


WHEN = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "header", "value"),
    [
        (too_many(2), "Retry-After", "2"),
        (too_many(0.5), "Retry-After", "0.5"),
        (too_many("soon"), "Retry-After", "soon"),
        (too_many(WHEN), "Retry-After", "Wed, 02 Jan 2030 03:04:05 GMT"),
        (too_many(retry_after_ms=1500), "retry-after-ms", "1500"),
        (
            too_many(headers={"x-ratelimit-reset-tokens": "6m0s"}),
            "x-ratelimit-reset-tokens",
            "6m0s",
        ),
    ],
)
def test_a_rate_limit_hints_in_every_form(line: Reply, header: str, value: str) -> None:
    with FaultServer([line]) as server:
        response, body = ask(server)
    assert (response.status, response.headers[header]) == (429, value)
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"


def test_a_date_as_a_hint_is_that_point_in_time() -> None:
    with FaultServer([too_many(WHEN)]) as server:
        response, _ = ask(server)
    assert parsedate_to_datetime(response.headers["Retry-After"]) == WHEN


def test_errors_redirects_and_made_up_statuses() -> None:
    with FaultServer([error(529, "busy"), redirect("http://other.example/")]) as server:
        first, body = ask(server)
        second, _ = ask(server)
    assert (first.status, json.loads(body)["error"]["message"]) == (529, "busy")
    assert (second.status, second.headers["Location"]) == (307, "http://other.example/")


def test_a_line_may_look_at_its_request() -> None:
    def by_path(request: Received) -> Entry:
        if request.path == "/v1/models":
            return models("b", "a")
        return completion("Paris") if request.headers.get("x-known") else error(404)

    with FaultServer(then=by_path) as server:
        connection = connect(server)
        connection.request("GET", "/v1/models?limit=3")
        listed = json.loads(connection.getresponse().read())
        connection.close()
        missing, _ = ask(server)
        _, found = ask(server, headers={"X-Known": "1"})
    assert "Paris" in found.decode()
    assert [one["id"] for one in listed["data"]] == ["b", "a"]
    assert missing.status == 404
    assert server.requests[0].target == "/v1/models?limit=3"


def test_a_defect_in_the_script_is_not_swallowed() -> None:
    def broken(request: Received) -> Reply:
        raise LookupError("a defect")

    with pytest.raises(LookupError, match="a defect"), FaultServer([broken]) as server:
        with pytest.raises(http.client.RemoteDisconnected):
            ask(server)


def test_one_connection_carries_many_requests() -> None:
    with FaultServer() as server:
        connection = connect(server)
        for _ in range(3):
            connection.request("POST", CHAT, json.dumps(QUESTION))
            connection.getresponse().read()
        connection.close()
        assert server.wait_until(lambda server: server.open_connections == 0)
    assert server.connections == 1
    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_a_body_in_chunks_is_read_whole() -> None:
    with FaultServer() as server:
        connection = connect(server)
        pieces: Iterator[bytes] = iter([b'{"model":', b' "chunked"}'])
        connection.request("POST", CHAT, pieces, {}, encode_chunked=True)
        connection.getresponse().read()
        connection.close()
    assert server.requests[0].json == {"model": "chunked"}


def test_the_journal_says_what_came_and_when_and_hides_keys() -> None:
    before = time.monotonic()
    with FaultServer() as server:
        ask(server, headers={"Authorization": "Bearer sk-secret", "X-Org": "acme"})
    request = server.requests[0]
    assert (request.method, request.path, request.json) == ("POST", CHAT, QUESTION)
    assert request.headers["authorization"] == "Bearer sk-secret"
    assert before <= request.time <= time.monotonic()
    assert "sk-secret" not in repr(request)
    assert "two words" not in repr(request)
    assert "acme" in repr(request)


def test_requests_in_flight_are_counted_at_their_height() -> None:
    def all_there(server: FaultServer) -> bool:
        return server.in_flight == 4

    with FaultServer([stall()] * 4) as server, ThreadPoolExecutor(5) as threads:
        connections = [connect(server) for _ in range(4)]
        for connection in connections:
            threads.submit(connection.request, "POST", CHAT, json.dumps(QUESTION))
        assert server.wait_until(all_there)
        for connection in connections:
            connection.close()
        assert server.wait_until(lambda server: server.in_flight == 0)
        ask(server)
        assert server.most_in_flight == 4


def test_a_body_may_be_whole_without_an_end() -> None:
    with FaultServer([raw("{}", ending=Ending.HANG)]) as server:
        address = server.url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1])), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while not received.endswith(b"{}"):
                received += client.recv(1000)
            assert b"content-length" not in received.lower()
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)


def test_closing_leaves_no_thread_and_no_socket() -> None:
    def counted() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted

    before = counted()
    with FaultServer([stall(), stall()]) as server:
        clients = [connect(server) for _ in range(2)]
        for client in clients:
            client.request("POST", CHAT, json.dumps(QUESTION))
        assert server.wait_until(lambda server: server.in_flight == 2)
    for client in clients:
        client.close()
    assert counted() == before
    assert (server.open_connections, server.in_flight) == (0, 0)


def test_a_server_that_was_not_started_has_no_url() -> None:
    with pytest.raises(RuntimeError, match="with"):
        _ = FaultServer().url


def test_it_serves_tls(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(cert, key)
    with FaultServer([models("m")], tls=served) as server:
        trusting = ssl.create_default_context(cafile=str(cert))
        address = server.url.removeprefix("https://")
        connection = http.client.HTTPSConnection(address, context=trusting, timeout=10)
        connection.request("GET", "/v1/models")
        assert json.loads(connection.getresponse().read())["data"][0]["id"] == "m"
        connection.close()

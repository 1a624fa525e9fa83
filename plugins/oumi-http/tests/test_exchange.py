"""What goes over a connection, byte for byte, and what an unusual server may send back."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from oumi_core.errors import EngineError
from oumi_core.testing import FaultServer
from oumi_core.types.completion import Completion
from oumi_core.types.failure import FailureKind

from oumi_http.exchange import merged
from oumi_http.remote import RemoteEngine

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from conftest import Asks, Started

    Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ANSWER = json.dumps({"choices": [{"message": {"content": "Paris."}}]}).encode()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER)


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """A port on which `serve` has each connection, until it returns."""

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def asked(started: Started, asks: Asks, serve: Serve, times: int = 1) -> list[str]:
    async with listening(serve) as port, started(f"http://127.0.0.1:{port}") as engine:
        return [(await engine.complete(asks())).text for _ in range(times)]


async def head_of(reader: asyncio.StreamReader) -> bytes:
    """The head of a request, whose body is read and thrown away."""
    head = await reader.readuntil(b"\r\n\r\n")
    (line,) = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
    await reader.readexactly(int(line.split()[1]))
    return head


def test_every_byte_of_a_request(started: Started, asks: Asks) -> None:
    received = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(10_000))
        writer.write(OK)

    async def main() -> int:
        async with (
            listening(serve) as port,
            started(f"http://127.0.0.1:{port}/api/v1?api-version=2", api_key="sk-1") as engine,
        ):
            await engine.complete(asks("Wohin? Süden."))
            return port

    port = asyncio.run(main())
    head, _, body = received[0].partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "POST /api/v1/chat/completions?api-version=2 HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Accept: */*",
        "Accept-Encoding: gzip, deflate",
        "Content-Type: application/json",
        "User-Agent: oumi-http",
        "Authorization: Bearer sk-1",
        f"Content-Length: {len(body)}",
    ]
    assert json.loads(body)["messages"] == [{"role": "user", "content": "Wohin? Süden."}]


LONG = json.dumps({"choices": [{"message": {"content": "Paris."}}], "x": "x" * 500_000}).encode()
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
PACKED = gzip.compress(ANSWER)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([INTERIM + OK], id="interim"),
        pytest.param([INTERIM, OK], id="interim, apart"),
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(LONG), LONG)], id="long"
        ),
        pytest.param([OK[:9], OK[9:30], OK[30:-5], OK[-5:]], id="in pieces"),
        pytest.param(
            [
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
                % (len(PACKED), PACKED)
            ],
            id="packed",
        ),
        pytest.param(
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"%x\r\n%b\r\n" % (len(ANSWER), ANSWER),
                b"0\r\n\r\n",
            ],
            id="chunked",
        ),
    ],
)
def test_an_answer_in_any_form_of_http(started: Started, asks: Asks, answer: list[bytes]) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await head_of(reader)
            for piece in answer:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)

    assert asyncio.run(asked(started, asks, serve, times=2)) == ["Paris.", "Paris."]
    assert connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER, id="the old protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER, id="no length"),
    ],
)
def test_an_answer_that_ends_with_the_connection(
    started: Started, asks: Asks, answer: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(answer)

    assert asyncio.run(asked(started, asks, serve, times=2)) == ["Paris.", "Paris."]


def test_a_stream_is_over_when_it_says_so(started: Started, asks: Asks) -> None:
    chunk = json.dumps({"choices": [{"delta": {"content": "Paris."}, "finish_reason": "stop"}]})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(f"data: {chunk}\n\ndata: [DONE]\n\n".encode())
        await reader.read()  # keeps the connection open, as some gateways do

    async def main() -> list[str]:
        async with (
            listening(serve) as port,
            started(f"http://127.0.0.1:{port}", connection_timeout=5.0) as engine,
        ):
            return [piece.text async for piece in engine.stream(asks())]

    assert asyncio.run(main()) == ["Paris.", "Paris."]


def test_a_server_that_hangs_up_at_once_may_be_asked_again(started: Started, asks: Asks) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async def main() -> list[BaseException | Completion]:
        async with listening(serve) as port, started(f"http://127.0.0.1:{port}") as engine:
            asked = (engine.complete(asks()) for _ in range(200))
            return await asyncio.gather(*asked, return_exceptions=True)

    errors = asyncio.run(main())
    failures = [error.failure for error in errors if isinstance(error, EngineError)]
    assert len(failures) == len(errors)
    assert {failure.kind for failure in failures} == {FailureKind.TRANSIENT}


def test_what_is_left_of_a_body_does_not_reach_the_next_answer(
    started: Started, asks: Asks
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)  # before the body is read, and of the first one nothing ever is
        if connections > 1:
            await reader.read()

    async def main() -> list[str]:
        long = "x" * 20_000_000  # more than the buffers of the sockets hold
        async with listening(serve) as port, started(f"http://127.0.0.1:{port}") as engine:
            return [(await engine.complete(asks(text))).text for text in (long, "short")]

    assert asyncio.run(main()) == ["Paris.", "Paris."]
    assert connections == 2


def test_what_comes_unasked_is_not_the_next_answer(started: Started, asks: Asks) -> None:
    connections = 0
    came = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await head_of(reader)
            writer.write(OK)
            if connections == 1:
                await came.wait()
                writer.write(OK.replace(b"Paris.", b"Wrong!"))

    async def main() -> list[str]:
        async with listening(serve) as port, started(f"http://127.0.0.1:{port}") as engine:
            first = await engine.complete(asks())
            came.set()
            await asyncio.sleep(0.1)
            return [first.text, *[(await engine.complete(asks())).text for _ in range(2)]]

    assert asyncio.run(main()) == ["Paris."] * 3
    assert connections == 2


def test_a_server_that_is_full_may_say_so_before_it_reads(started: Started, asks: Asks) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Full\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    with pytest.raises(EngineError) as caught:
        asyncio.run(asked(started, asks, serve))
    assert (caught.value.failure.status, caught.value.failure.retry_after) == (503, 7)


class TokenEngine(RemoteEngine):
    """An engine whose token changes, as tokens do."""

    tokens: ClassVar[list[dict[str, str] | None]] = []

    async def request_headers(self) -> Mapping[str, str] | None:
        """The next token."""
        return self.tokens.pop(0)


def test_headers_that_change_replace_the_others(started: Started, asks: Asks) -> None:
    tokens = [{"authorization": "Bearer a"}, {"authorization": "Bearer b"}, None, {"X-Trace": "7"}]
    engine_class = type("Tokens", (TokenEngine,), {"tokens": tokens})

    async def main() -> None:
        async with started(server.url, cls=engine_class, api_key="own") as engine:
            for _ in range(4):
                await engine.complete(asks())

    with FaultServer() as server:
        asyncio.run(main())
    sent = [request.headers for request in server.requests]
    assert [one["authorization"] for one in sent] == [
        f"Bearer {k}" for k in ("a", "b", "own", "own")
    ]
    assert [one.get("x-trace") for one in sent] == [None, None, None, "7"]


def test_a_table_of_headers_may_be_changed_in_place(started: Started, asks: Asks) -> None:
    token: dict[str, str] = {}
    engine_class = type("Tokens", (TokenEngine,), {"tokens": [token, token]})

    async def main() -> None:
        async with started(server.url, cls=engine_class) as engine:
            for token["X-Token"] in ("old", "new"):
                await engine.complete(asks())

    with FaultServer() as server:
        asyncio.run(main())
    assert [request.headers["x-token"] for request in server.requests] == ["old", "new"]


def test_a_header_cannot_begin_another_one(started: Started, asks: Asks) -> None:
    tokens = [{"X-A": "sk-1\r\nX-Evil: 1"}]
    engine_class = type("Tokens", (TokenEngine,), {"tokens": tokens})

    async def main() -> None:
        async with started(server.url, cls=engine_class) as engine:
            await engine.complete(asks())

    with FaultServer() as server:
        with pytest.raises(ValueError, match="'X-A': holds a line break") as caught:
            asyncio.run(main())
    assert "sk-1" not in str(caught.value)
    assert server.requests == ()


def test_the_last_table_names_a_header() -> None:
    tables: list[dict[str, str] | None] = [{"A": "1", "B": "1"}, None, {"a": "2"}, {}]
    assert merged(*tables) == {"a": "2", "B": "1"}


async def _both_ways(engine: Any, asks: Asks) -> list[str]:
    whole = await engine.complete(asks("there"))
    pieces = [piece async for piece in engine.stream(asks("and back"))]
    return [one.text for one in (whole, *pieces) if isinstance(one, Completion)]


@pytest.mark.parametrize("user", ["", "me:pass@"])
def test_a_tunnel_through_a_proxy_that_never_sees_the_key(
    started: Started,
    asks: Asks,
    served: ssl.SSLContext,
    certificate: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    *,
    user: str,
) -> None:
    heads: list[str] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        host, _, port = head.split()[1].partition(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_copied(reader, back), _copied(there, writer))

    async def main() -> list[str]:
        async with listening(tunnel) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://{user}127.0.0.1:{port}")
            monkeypatch.setenv("NO_PROXY", "")
            arguments = {"ca_file": str(certificate[0])}
            async with started(server.url, api_key="sk-hidden", engine_args=arguments) as engine:
                return await _both_ways(engine, asks)

    with FaultServer(tls=served) as server:
        assert asyncio.run(main()) == ["there", "and back"]
    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer sk-hidden"
    ] * 2
    assert heads
    for head in heads:
        assert ("Proxy-Authorization: Basic" in head) is bool(user)
        assert "sk-hidden" not in head


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    writer.close()


def test_a_proxy_that_forwards_is_told_who_asks_and_where_to(
    started: Started, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> list[str]:
        async with started("http://api.acme.example/v1?v=2", api_key="sk-1") as engine:
            return await _both_ways(engine, asks)

    with FaultServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://me:p%40ss@"))
        monkeypatch.setenv("NO_PROXY", "")
        assert asyncio.run(main()) == ["there", "and back"]
    for request in proxy.requests:
        assert request.target == "http://api.acme.example/v1/chat/completions?v=2"
        assert request.headers["host"] == "api.acme.example"
        assert request.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
        assert request.headers["authorization"] == "Bearer sk-1"

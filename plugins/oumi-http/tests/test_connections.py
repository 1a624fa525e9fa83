"""The pool: as large as it must be, shared, closed; TLS and proxies."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.errors import ConfigError, EngineError
from oumi_core.testing import FaultServer, close_early, completion, raw, stall
from oumi_core.types.failure import FailureKind

from oumi_http.transport import proxy_for

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Asks, Started
    from oumi_core.types.completion import Completion

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_a_thousand_requests_share_one_pool(started: Started, asks: Asks) -> None:
    in_flight, rows = 256, 1000

    async def main() -> list[str]:
        room = asyncio.Semaphore(in_flight)

        async def one(number: int) -> str:
            async with room:
                return (await engine.complete(asks(f"row {number}"))).text

        async with started(server.url) as engine:
            return await asyncio.gather(*(one(number) for number in range(rows)))

    with FaultServer(then=completion(delay=0.02)) as server:
        answers = asyncio.run(main())
        assert server.wait_until(lambda server: server.open_connections == 0)
    assert answers == [f"row {number}" for number in range(rows)]
    assert len(server.requests) == rows
    assert server.most_in_flight <= in_flight
    assert server.connections <= in_flight


def test_one_connection_serves_one_request_after_another(started: Started, asks: Asks) -> None:
    async def main() -> None:
        async with started(server.url) as engine:
            for _ in range(5):
                await engine.complete(asks())
                async for _ in engine.stream(asks()):
                    pass

    with FaultServer() as server:
        asyncio.run(main())
    assert server.connections == 1


def test_a_connection_that_the_server_closed_is_not_used_again(
    started: Started, asks: Asks
) -> None:
    async def main() -> str:
        async with started(server.url) as engine:
            with pytest.raises(EngineError):
                await engine.complete(asks())
            return (await engine.complete(asks("again"))).text

    with FaultServer([close_early()]) as server:
        assert asyncio.run(main()) == "again"
    assert server.connections == 2


def test_stopping_leaves_no_task_thread_or_socket(started: Started, asks: Asks) -> None:
    def counted() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not read

    async def main() -> tuple[int, int]:
        before = len(asyncio.all_tasks()), counted()
        async with started(server.url) as engine:
            await asyncio.gather(*(engine.complete(asks()) for _ in range(20)))
            assert counted() > before[1]
        assert server.wait_until(lambda server: server.open_connections == 0)
        after = len(asyncio.all_tasks()), counted()
        return after[0] - before[0], after[1] - before[1]

    threads = threading.active_count()
    with FaultServer() as server:
        assert asyncio.run(main()) == (0, 0)
    assert threading.active_count() == threads


def test_stopping_breaks_off_what_is_in_flight(started: Started, asks: Asks) -> None:
    async def main() -> list[Completion | BaseException]:
        async with started(server.url) as engine:
            asked = [asyncio.create_task(engine.complete(asks()))]
            await asyncio.to_thread(server.wait_until, lambda server: server.in_flight == 1)
            asked += [asyncio.create_task(engine.complete(asks())) for _ in range(20)]
            await asyncio.sleep(0)  # one was sent, the others are connecting
        return await asyncio.gather(*asked, return_exceptions=True)

    with FaultServer(then=stall()) as server:
        ended = asyncio.run(main())
    assert {str(error).partition("broke: ")[2] for error in ended} == {
        "it was closed before the answer"
    }


@pytest.mark.parametrize("streamed", [False, True])
def test_giving_up_closes_the_connection(started: Started, asks: Asks, *, streamed: bool) -> None:
    async def main() -> None:
        async def ask() -> None:
            if streamed:
                async for _ in engine.stream(asks()):
                    pass
            else:
                await engine.complete(asks())

        async with started(server.url) as engine:
            task = asyncio.create_task(ask())
            await asyncio.to_thread(server.wait_until, lambda server: server.in_flight == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(
                server.wait_until, lambda server: server.open_connections == 0
            )

    with FaultServer([stall()]) as server:
        asyncio.run(main())


def test_a_stream_that_nobody_reads_on_is_closed(started: Started, asks: Asks) -> None:
    async def main() -> None:
        async with started(server.url) as engine:
            stream = engine.stream(asks())
            await anext(aiter(stream))
            assert isinstance(stream, AsyncGenerator)
            await stream.aclose()
            assert await asyncio.to_thread(
                server.wait_until, lambda server: server.open_connections == 0
            )

    with FaultServer([completion("one two three", pause=0.5)]) as server:
        asyncio.run(main())


def ask_once(started: Started, asks: Asks, url: str, **engine_args: Any) -> str:
    async def main() -> Completion:
        async with started(url, api_key="sk-1", engine_args=engine_args) as engine:
            return await engine.complete(asks("over tls"))

    return asyncio.run(main()).text


def test_an_unknown_authority_is_not_trusted(
    started: Started, asks: Asks, served: ssl.SSLContext
) -> None:
    with FaultServer(tls=served) as server:
        with pytest.raises(EngineError, match="ca_file") as caught:
            ask_once(started, asks, server.url)
    assert caught.value.failure.kind is FailureKind.ENGINE_DEAD
    assert server.requests == ()


def test_an_authority_can_be_named_or_the_check_turned_off(
    started: Started, asks: Asks, served: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    with FaultServer(tls=served) as server:
        assert ask_once(started, asks, server.url, ca_file=str(certificate[0])) == "over tls"
        assert ask_once(started, asks, server.url, verify=False) == "over tls"


def test_a_client_certificate_is_shown(
    started: Started, asks: Asks, served: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    cert, key = map(str, certificate)
    served.verify_mode = ssl.CERT_REQUIRED
    served.load_verify_locations(cert)
    with FaultServer(tls=served) as server:
        own = {"client_cert": cert, "client_key": key}
        assert ask_once(started, asks, server.url, ca_file=cert, **own) == "over tls"
        with pytest.raises(EngineError) as caught:
            ask_once(started, asks, server.url, ca_file=cert)
    assert caught.value.failure.kind in {FailureKind.TRANSIENT, FailureKind.ENGINE_DEAD}


def test_no_tls_where_it_is_expected(started: Started, asks: Asks) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, started(f"https://127.0.0.1:{port}") as engine:
            await engine.complete(asks())

    with pytest.raises(EngineError, match="no trusted connection") as caught:
        asyncio.run(main())
    assert caught.value.failure.kind is FailureKind.ENGINE_DEAD


def test_the_proxy_of_the_environment_is_used(
    started: Started, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://me:pass@"))
        assert ask_once(started, asks, "http://api.acme.example") == "over tls"
    request = proxy.requests[0]
    assert request.target == "http://api.acme.example/v1/chat/completions"
    assert request.headers["proxy-authorization"].startswith("Basic ")


def test_a_proxy_that_refuses_a_tunnel(
    started: Started, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer([raw("no", status=407)]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(EngineError, match="refused with HTTP 407") as caught:
            ask_once(started, asks, "https://api.acme.example")
    assert caught.value.failure.kind is FailureKind.AUTH
    assert "authorization" not in proxy.requests[0].headers


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "https://a.example/v1", None),
        ({"https_proxy": "http://p:1"}, "https://a.example/v1", "http://p:1"),
        ({"HTTPS_PROXY": "p:1"}, "https://a.example/v1", "http://p:1"),
        ({"https_proxy": "http://p:1"}, "http://a.example/v1", None),
        ({"all_proxy": "http://p:1"}, "http://a.example/v1", "http://p:1"),
        ({"https_proxy": "http://p:1", "no_proxy": "a.example"}, "https://a.example/v1", None),
        ({"https_proxy": "http://p:1", "no_proxy": ".example"}, "https://a.example/v1", None),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, "https://a.example/v1", None),
    ],
)
def test_the_proxy_for_a_url(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hidden@p:1")
    with pytest.raises(ConfigError, match="not an HTTP proxy") as caught:
        proxy_for("https://a.example")
    assert "hidden" not in str(caught.value)

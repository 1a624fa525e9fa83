"""Sending with a client that the user brings."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
import pytest
from oumi_core.errors import ConfigError, EngineError
from oumi_core.testing import (
    FaultServer,
    close_early,
    completion,
    cut_body,
    cut_stream,
    models,
    raw,
    redirect,
    stall,
    too_many,
)
from oumi_core.types.completion import Completion
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import Asks, Started
    from oumi_core.testing.replies import Entry


async def read(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


pytestmark = pytest.mark.parametrize("library", [httpx, httpx2])


def test_it_answers_streams_and_lists(started: Started, asks: Asks, library: Any) -> None:
    async def main() -> tuple[str, list[str], list[str]]:
        async with library.AsyncClient(headers={"X-Mine": "1"}, trust_env=False) as client:
            args = {"http_client": client}
            async with started(f"{server.url}/v1?a=b", api_key="sk-1", engine_args=args) as engine:
                plain = await engine.complete(asks())
                pieces = [piece async for piece in engine.stream(asks("one two"))]
                listed = await engine.list_models()
            assert not client.is_closed
        assert isinstance(pieces[-1], Completion)
        return plain.text, [piece.text for piece in pieces], listed

    with FaultServer([completion(), completion(), models("m")]) as server:
        assert asyncio.run(main()) == ("hello there", ["one", " two", "one two"], ["m"])
    assert [request.target for request in server.requests] == [
        "/v1/chat/completions?a=b",
        "/v1/chat/completions?a=b",
        "/v1/models?a=b",
    ]
    for request in server.requests:
        assert request.headers["authorization"] == "Bearer sk-1"
        assert request.headers["x-mine"] == "1"


@pytest.mark.parametrize(
    ("line", "streamed", "kind"),
    [
        (too_many(2), False, FailureKind.RATE_LIMIT),
        (too_many(2), True, FailureKind.RATE_LIMIT),
        (close_early(), False, FailureKind.TRANSIENT),
        (cut_body(), False, FailureKind.TRANSIENT),
        (cut_stream(completion("a b c d")), True, FailureKind.TRANSIENT),
        (cut_stream(completion("a b c d"), clean=True), True, FailureKind.TRANSIENT),
        (raw("{nope"), False, FailureKind.TRANSIENT),
        (redirect("http://other.example/"), False, FailureKind.NOT_FOUND),
        (stall(), False, FailureKind.TIMEOUT),
        (stall(), True, FailureKind.TIMEOUT),
        (completion("a b c d", pause=0.4), True, FailureKind.TIMEOUT),
    ],
)
def test_its_faults_are_the_same_failures(
    started: Started,
    asks: Asks,
    library: Any,
    line: Entry,
    *,
    streamed: bool,
    kind: FailureKind,
) -> None:
    async def main() -> Failure:
        async with library.AsyncClient(follow_redirects=True, trust_env=False) as client:
            args = {"http_client": client}
            async with started(server.url, engine_args=args, connection_timeout=0.3) as engine:
                with pytest.raises(EngineError) as caught:
                    await (read(engine.stream(asks())) if streamed else engine.complete(asks()))
                return caught.value.failure

    with FaultServer([line]) as server:
        failure = asyncio.run(main())
    assert failure.kind is kind
    assert failure.retry_after == (2 if kind is FailureKind.RATE_LIMIT else None)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there(started: Started, asks: Asks, library: Any) -> None:
    async def main() -> None:
        async with library.AsyncClient(trust_env=False) as client:
            args = {"http_client": client}
            async with started("http://127.0.0.1:9/?token=hidden", engine_args=args) as engine:
                await engine.complete(asks())

    with pytest.raises(EngineError, match="no connection to http://127") as caught:
        asyncio.run(main())
    assert "hidden" not in str(caught.value)


def test_a_client_of_another_library_is_refused(started: Started, library: Any) -> None:
    async def main() -> None:
        with library.Client() as client:
            async with started("localhost", engine_args={"http_client": client}):
                pass

    with pytest.raises(ConfigError, match="AsyncClient"):
        asyncio.run(main())

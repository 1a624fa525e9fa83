"""Batches through the official SDK, over real sockets."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.batching.backend import Part
from oumi_core.batching.status import BatchError, BatchStatus, PartStatus
from oumi_core.errors import ConfigError, EngineError
from oumi_core.guided.constraint import Choice, JsonSchema
from oumi_core.testing import (
    FaultServer,
    close_early,
    completion,
    cut_body,
    error,
    raw,
    stall,
    too_many,
)
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from conftest import Asks, Opened, Started
    from oumi_core.batching.backend import BatchBackend
    from oumi_core.engine import Request
    from oumi_core.testing.replies import Entry
    from oumi_core.wire import BatchLine

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}
ENDED = PartStatus("batch_1", BatchStatus.COMPLETED, output_file_id="file-out")


@pytest.fixture
def asked(opened: Opened) -> Any:
    """Runs a call of the backend against a scripted server; gives what it gives."""

    def ask(
        script: list[Entry], call: Callable[[BatchBackend], Awaitable[Any]], **engine: Any
    ) -> tuple[Any, FaultServer]:
        async def main() -> Any:
            async with opened(server.url, **engine) as backend:
                return await call(backend)

        with FaultServer(script, then=error(500, "the script is over")) as server:
            return asyncio.run(main()), server

    return ask


@pytest.fixture
def part(tmp_path: Path) -> Part:
    path = tmp_path / "part.jsonl"
    path.write_bytes(b'{"custom_id":"a"}\n{"custom_id":"b"}\n')
    size = path.stat().st_size
    return Part("batch-1", "token-1", path, 2, size, "5a" * 32, "gpt-4o-mini", "24h")


def said(**fields: Any) -> Entry:
    return raw(json.dumps(fields))


def results(
    part: PartStatus, constraint: Any = None
) -> Callable[[BatchBackend], Awaitable[list[BatchLine]]]:
    async def read(backend: BatchBackend) -> list[BatchLine]:
        return [line async for line in backend.results(part, constraint)]

    return read


def answered(text: str) -> Entry:
    """A file of results with one answer."""
    message = {"role": "assistant", "content": text}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    return said(custom_id="a", response={"status_code": 200, "body": body}, error=None)


def line_of(opened: Opened, request: Request, **engine: Any) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        async with opened("http://127.0.0.1:9", **engine) as backend:
            line: dict[str, Any] = json.loads(await asyncio.to_thread(backend.line, "a", request))
            return line

    return asyncio.run(main())


def test_a_part_goes_up_and_becomes_a_batch(asked: Any, part: Part) -> None:
    async def send(backend: BatchBackend) -> tuple[str | None, str]:
        stored = await backend.upload(part)
        return stored, await backend.submit(part, stored)

    script = [
        said(id="file-1", status="processed"),
        said(id="file-1", status="processed"),
        said(id="batch_1", status="validating"),
    ]
    found, server = asked(script, send, engine_args={"organization": "org-1"})
    assert found == ("file-1", "batch_1")
    stored, _, made = server.requests
    assert (stored.method, stored.path) == ("POST", "/v1/files")
    assert b'name="purpose"' in stored.body
    assert b'filename="oumi-token-1.jsonl"' in stored.body
    assert part.path.read_bytes() in stored.body
    assert (made.method, made.path) == ("POST", "/v1/batches")
    assert made.json == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"oumi_token": "token-1", "oumi_batch": "batch-1", "sha256": "5a" * 32},
    }
    for request in server.requests:
        assert request.headers["authorization"] == "Bearer sk-test"
        assert request.headers["openai-organization"] == "org-1"


def test_what_the_sdk_has_no_model_for_is_reported_as_it_is(asked: Any) -> None:
    errors = {"data": [{"code": "token_limit_exceeded", "line": None, "message": "Too much."}]}
    reply = said(
        id="batch_1", status="resting", request_counts=None, error_file_id="", errors=errors
    )
    state, _ = asked([reply], lambda backend: backend.status("batch_1"))
    assert state == PartStatus(
        "batch_1", "resting", errors=(BatchError("Too much.", "token_limit_exceeded"),)
    )
    assert not state.is_terminal


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(500), FailureKind.TRANSIENT),
        (close_early(), FailureKind.TRANSIENT),
        (cut_body(said(id="batch_1", status="validating")), FailureKind.TRANSIENT),
        (too_many(7), FailureKind.RATE_LIMIT),
        (error(429, code="insufficient_quota"), FailureKind.QUOTA),
        (error(401), FailureKind.AUTH),
        (raw("<html><title>Login</title>"), FailureKind.TRANSIENT),
        (stall(), FailureKind.TIMEOUT),
    ],
)
def test_a_batch_is_asked_for_once_whatever_happens(
    opened: Opened, part: Part, reply: Entry, kind: FailureKind
) -> None:
    async def main() -> None:
        async with opened(server.url, connection_timeout=0.5) as backend:
            with pytest.raises(EngineError) as caught:
                await backend.submit(part, "file-1")
        assert caught.value.failure.kind is kind
        assert caught.value.failure.retry_after == (7 if kind is FailureKind.RATE_LIMIT else None)
        assert "sk-test" not in str(caught.value)

    with FaultServer([said(id="file-1"), reply], then=error(500)) as server:
        asyncio.run(main())
    assert [request.method for request in server.requests] == ["GET", "POST"]


def test_a_server_that_is_not_there(opened: Opened) -> None:
    with FaultServer() as server:
        url = server.url

    async def main() -> None:
        async with opened(url) as backend:
            with pytest.raises(EngineError, match="no connection to http://127") as caught:
                await backend.status("batch_1")
        assert caught.value.failure.kind is FailureKind.TRANSIENT

    asyncio.run(main())


def test_a_certificate_that_nobody_signed_is_not_worth_another_try(
    opened: Opened, tmp_path: Path
) -> None:
    import ssl

    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def main() -> None:
        async with opened(server.url) as backend:
            with pytest.raises(EngineError, match="no trusted connection") as caught:
                await backend.status("batch_1")
        assert caught.value.failure.kind is FailureKind.ENGINE_DEAD

    with FaultServer(tls=context) as server:
        asyncio.run(main())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (cut_body(answered("Paris."), after=100), FailureKind.TRANSIENT),
        (error(404, "the file has expired"), FailureKind.NOT_FOUND),
    ],
)
def test_nothing_is_given_of_a_file_that_did_not_come_whole(
    opened: Opened, reply: Entry, kind: FailureKind
) -> None:
    async def main() -> list[BatchLine]:
        given = []
        async with opened(server.url) as backend:
            with pytest.raises(EngineError) as caught:
                given += await results(ENDED)(backend)
        assert caught.value.failure.kind is kind
        return given

    with FaultServer([reply]) as server:
        assert asyncio.run(main()) == []


def test_a_strict_schema_goes_out_and_its_answer_comes_back_in_the_users_form(
    opened: Opened, asked: Any, asks: Asks, started: Started
) -> None:
    constraint = JsonSchema(PERSON, "Person")
    request = asks("who?", constraint=constraint)

    async def online() -> Any:
        async with started(server.url) as engine:
            return await engine.complete(request)

    with FaultServer([completion('{"name": "Emma", "age": null}')]) as server:
        expected = asyncio.run(online())
    assert line_of(opened, request)["body"] == server.requests[0].json
    (line,), _ = asked([answered('{"name": "Emma", "age": null}')], results(ENDED, constraint))
    assert line.completion.text == expected.text == '{"name":"Emma"}'


def test_a_choice_comes_back_bare(asked: Any) -> None:
    (line,), _ = asked([answered('{"value": "yes"}')], results(ENDED, Choice(("yes", "no"))))
    assert line.completion.text == "yes"


def test_an_answer_without_a_constraint_stays_as_it_is(asked: Any) -> None:
    (line,), _ = asked([answered('{"value": "yes"}')], results(ENDED))
    assert line.completion.text == '{"value": "yes"}'


def test_reasoning_models_get_nothing_in_a_batch_that_they_do_not_take(
    opened: Opened, asks: Asks
) -> None:
    with pytest.warns(UserWarning, match=r"generation\.top_p: the reasoning model"):
        line = line_of(opened, asks("why?", model="o3-mini", top_p=0.5))
    assert "top_p" not in line["body"]


def test_azure_has_its_own_paths_and_names_the_deployment(
    opened: Opened, part: Part, asks: Asks
) -> None:
    azure = {"api_version": "2024-10-21", "deployment": "mine"}
    script = [
        said(id="file-1", status="pending"),  # Azure checks a file first
        said(id="file-1", status="processed"),
        said(id="batch_1", status="validating"),
        said(id="batch_1", status="validating"),
        said(data=[]),
    ]

    async def main() -> dict[str, Any]:
        async with opened(server.url, engine_args={"azure": azure}) as backend:
            stored = await backend.upload(part)
            handle = await backend.submit(part, stored)
            await backend.status(handle)
            assert [one async for one in backend.list()] == []
            line: dict[str, Any] = json.loads(backend.line("a", asks()))
            return line

    with FaultServer(script) as server:
        line = asyncio.run(main())
    assert line["url"] == "/chat/completions"
    assert line["body"]["model"] == "mine"
    assert [request.path for request in server.requests] == [
        "/openai/files",
        "/openai/files/file-1",
        "/openai/batches",
        "/openai/batches/batch_1",
        "/openai/batches",
    ]
    assert server.requests[2].json["endpoint"] == "/chat/completions"
    for request in server.requests:
        assert "api-version=2024-10-21" in request.target
        assert request.headers["api-key"] == "sk-test"
        assert "authorization" not in request.headers


def test_the_list_goes_on_page_by_page(asked: Any) -> None:
    async def tokens(backend: BatchBackend) -> list[str | None]:
        return [one.token async for one in backend.list()]

    first = {"id": "batch_2", "status": "completed", "metadata": {"oumi_token": "t-2"}}
    second = {"id": "batch_1", "status": "expired", "metadata": None}
    script = [
        said(data=[first], has_more=True, last_id="batch_2"),
        said(data=[second], has_more=False),
    ]
    found, server = asked(script, tokens)
    assert found == ["t-2", None]
    assert "limit=100" in server.requests[0].target
    assert "after=batch_2" in server.requests[1].target


def test_what_has_ended_need_not_be_canceled(asked: Any) -> None:
    script = [error(400, "it has ended"), said(id="batch_1", status="completed")]
    _, server = asked(script, lambda backend: backend.cancel("batch_1"))
    assert [request.method for request in server.requests] == ["POST", "GET"]


def test_a_client_of_the_users_carries_batches(opened: Opened) -> None:
    async def main() -> PartStatus:
        import httpx2

        async with httpx2.AsyncClient(headers={"x-own": "1"}) as client:
            async with opened(server.url, engine_args={"http_client": client}) as backend:
                await backend.status("batch_1")
                return await backend.status("batch_1")  # it was not closed

    with FaultServer(then=said(id="batch_1", status="expired")) as server:
        assert asyncio.run(main()).status == "expired"
    assert [request.headers["x-own"] for request in server.requests] == ["1", "1"]


def test_a_client_that_the_sdk_cannot_use_is_refused(opened: Opened) -> None:
    async def main() -> None:
        import httpx

        async with httpx.AsyncClient() as client:
            with pytest.raises(ConfigError, match=r"needs an httpx2\.AsyncClient"):
                async with opened("http://h", engine_args={"http_client": client}):
                    pass

    asyncio.run(main())


MEMORY = """
import asyncio, resource, sys
from pathlib import Path
from oumi_core.batching.backend import Part
from oumi_core.batching.status import BatchStatus, PartStatus
from oumi_core.configs import ModelParams, RemoteParams
from oumi_core.engine import EngineConfig
from oumi_openai.engine import OpenAIEngine

url, path = sys.argv[1], Path(sys.argv[2])
remote = RemoteParams(api_url=url, api_key="sk-test")
backend = OpenAIEngine(EngineConfig(ModelParams(model_name="m"), remote)).batch_backend()
small = path.with_name("small")
small.write_bytes(b"{}")

def part(path):
    return Part("b", "t", path, 1, path.stat().st_size, "5a" * 32, "m", "24h")

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

async def main():
    await backend.upload(part(small))
    before = most()
    await backend.upload(part(path))
    ended = PartStatus("batch_1", BatchStatus.COMPLETED, output_file_id="file-out")
    lines = 0
    async for line in backend.results(ended, None):
        lines += 1
    print(lines, most() - before)

asyncio.run(main())
"""


@pytest.mark.slow
def test_neither_way_is_a_file_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "part.jsonl"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
    line = json.dumps({"custom_id": "a", "response": None, "error": {"message": "y" * 1000}})
    content = raw(f"{line}\n" * 50_000)
    with FaultServer([said(id="file-0"), said(id="file-1"), content]) as server:
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, server.url, str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
    lines, kilobytes = map(int, done.stdout.split())
    assert len(server.requests[1].body) > path.stat().st_size
    assert lines == 50_000
    assert kilobytes < 30_000

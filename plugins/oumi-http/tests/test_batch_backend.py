"""Batches over real sockets: what is sent, and what is made of each answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.batching.backend import Part
from oumi_core.batching.status import BatchStatus, PartStatus
from oumi_core.errors import ConfigError, EngineError
from oumi_core.guided.constraint import JsonSchema
from oumi_core.testing import (
    FaultServer,
    close_early,
    completion,
    cut_body,
    error,
    raw,
    redirect,
    stall,
    too_many,
)
from oumi_core.types.conversation import ContentItem, ContentType, Message, Role
from oumi_core.types.failure import FailureKind
from oumi_core.types.tool_call import ToolDefinition

from oumi_http.engine import ChatCompletionsEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from conftest import Asks, Started
    from oumi_core.batching.backend import BatchBackend
    from oumi_core.testing.replies import Entry
    from oumi_core.types.completion import Completion
    from oumi_core.wire import BatchLine

    Opened = Callable[..., AbstractAsyncContextManager[BatchBackend]]

BATCHES = {"quirks": {"batches": True}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture
def opened(started: Started) -> Opened:
    """The backend of an engine for a server."""

    @asynccontextmanager
    async def open_backend(url: str, **engine: Any) -> AsyncIterator[BatchBackend]:
        arguments = {**BATCHES, **engine.pop("engine_args", {})}
        async with started(url, engine_args=arguments, **engine) as one:
            backend = one.batch_backend()
            assert backend is not None
            yield backend

    return open_backend


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
    return Part("batch-1", "token-1", path, 2, size, "5a" * 32, "m", "24h")


def said(**fields: Any) -> Entry:
    return raw(json.dumps(fields))


def batch(**fields: Any) -> Entry:
    return said(**{"id": "batch_1", "status": "in_progress", **fields})


def answer(text: str, **message: Any) -> dict[str, Any]:
    reply = {"role": "assistant", "content": text, **message}
    return {"choices": [{"index": 0, "message": reply, "finish_reason": "stop"}]}


def test_without_the_quirk_there_are_no_batches(started: Started) -> None:
    async def main() -> None:
        async with started("http://127.0.0.1:9") as engine:
            assert engine.batch_backend() is None

    asyncio.run(main())


def test_a_client_of_the_users_cannot_be_used(opened: Opened) -> None:
    async def main() -> None:
        import httpx2

        async with httpx2.AsyncClient() as client:
            with pytest.raises(ConfigError, match="http_client: batches go over"):
                async with opened("http://h", engine_args={"http_client": client}):
                    pass

    asyncio.run(main())


def test_a_line_holds_what_the_engine_would_send(
    started: Started, asks: Asks, tmp_path: Path
) -> None:
    (tmp_path / "dot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    request = asks(
        [
            Message(Role.SYSTEM, "be brief"),
            Message(
                Role.USER,
                [
                    ContentItem(ContentType.IMAGE_PATH, content="dot.png"),
                    ContentItem(ContentType.TEXT, "what is it?"),
                ],
            ),
        ],
        constraint=JsonSchema(SCHEMA, "Answer"),
        tools=[ToolDefinition.from_dict({"type": "function", "function": function})],
        max_new_tokens=7,
        seed=1,
        extra_body={"metadata": {"row": "1"}},
    )

    async def main() -> bytes:
        arguments = {**BATCHES, "allowed_media_path": str(tmp_path)}
        async with started(server.url, engine_args=arguments, user_id="user-7") as engine:
            await engine.complete(request)
            backend = engine.batch_backend()
            assert backend is not None
            return await asyncio.to_thread(backend.line, "row-1", request)

    with FaultServer([completion('{"a": 1}')]) as server:
        line = asyncio.run(main())
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "custom_id": "row-1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": server.requests[0].json,
    }
    assert server.requests[0].json["user"] == "user-7"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("half a pair: \ud83d", "cannot be written as JSON"),
        (
            [Message(Role.USER, [ContentItem(ContentType.IMAGE_PATH, content="a.png")])],
            "allowed_media_path",
        ),
    ],
)
def test_a_request_that_cannot_be_a_line_is_refused_alone(
    opened: Opened, asks: Asks, content: Any, reason: str
) -> None:
    async def main() -> None:
        async with opened("http://127.0.0.1:9") as backend:
            with pytest.raises(EngineError, match=reason) as caught:
                backend.line("row-1", asks(content))
            assert caught.value.failure.kind is FailureKind.BAD_REQUEST
            assert backend.line("row-2", asks("well"))

    asyncio.run(main())


def test_a_file_goes_up_under_the_name_of_its_part(asked: Any, part: Part) -> None:
    stored, server = asked([said(id="file-1")], lambda backend: backend.upload(part))
    assert stored == "file-1"
    (received,) = server.requests
    assert (received.method, received.path) == ("POST", "/v1/files")
    assert b'name="purpose"\r\n\r\nbatch\r\n' in received.body
    assert b'filename="oumi-token-1.jsonl"' in received.body
    assert part.path.read_bytes() in received.body


def test_a_batch_is_made_of_the_file_with_all_that_finds_it_again(asked: Any, part: Part) -> None:
    script = [said(id="file-1", status="processed"), batch(status="validating")]
    handle, server = asked(
        script,
        lambda backend: backend.submit(part, "file-1"),
        api_key="sk-1",
    )
    assert handle == "batch_1"
    looked, made = server.requests
    assert (looked.method, looked.path) == ("GET", "/v1/files/file-1")
    assert (made.method, made.path) == ("POST", "/v1/batches")
    assert made.headers["authorization"] == "Bearer sk-1"
    assert made.json == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"oumi_token": "token-1", "oumi_batch": "batch-1", "sha256": "5a" * 32},
    }


@pytest.mark.parametrize("status", [405, 501])
def test_a_server_that_shows_no_files_is_asked_for_the_batch_at_once(
    asked: Any, part: Part, status: int
) -> None:
    script = [error(status), batch()]
    handle, server = asked(script, lambda backend: backend.submit(part, "f"))
    assert handle == "batch_1"
    assert [request.method for request in server.requests] == ["GET", "POST"]


@pytest.mark.parametrize("not_yet", [error(404, "no such file"), said(id="f", status="Pending")])
def test_a_file_that_cannot_be_used_yet_is_waited_for(
    asked: Any, part: Part, not_yet: Entry
) -> None:
    script = [not_yet, said(id="f", status="processed"), batch()]
    handle, server = asked(script, lambda backend: backend.submit(part, "f"))
    assert handle == "batch_1"
    assert [request.method for request in server.requests] == ["GET", "GET", "POST"]


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(500), FailureKind.TRANSIENT),
        (close_early(), FailureKind.TRANSIENT),
        (too_many(7), FailureKind.RATE_LIMIT),
        (error(401), FailureKind.AUTH),
        (error(400, "no such endpoint"), FailureKind.BAD_REQUEST),
        (raw("<html><title>Login</title>"), FailureKind.TRANSIENT),
        (redirect("https://elsewhere.example"), FailureKind.NOT_FOUND),
        (stall(), FailureKind.TIMEOUT),
        (said(error={"message": "out of money", "code": "insufficient_quota"}), FailureKind.QUOTA),
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

    with FaultServer([said(id="file-1"), reply], then=error(500)) as server:
        asyncio.run(main())
    assert [request.method for request in server.requests] == ["GET", "POST"]


def test_the_state_of_a_batch(asked: Any) -> None:
    reply = batch(status="completed", output_file_id="file-out", error_file_id="")
    state, server = asked([reply], lambda backend: backend.status("batch_1"))
    assert state == PartStatus("batch_1", BatchStatus.COMPLETED, output_file_id="file-out")
    assert server.requests[0].target == "/v1/batches/batch_1"


def test_a_batch_that_the_server_does_not_know(asked: Any) -> None:
    with pytest.raises(EngineError) as caught:
        asked([error(404)], lambda backend: backend.status("batch_1"))
    assert caught.value.failure.kind is FailureKind.NOT_FOUND


def all_lines(part: PartStatus, **fields: Any) -> Callable[[BatchBackend], Awaitable[Any]]:
    async def read(backend: BatchBackend) -> list[BatchLine]:
        return [line async for line in backend.results(part, fields.get("constraint"))]

    return read


OUTPUT = (
    {
        "id": "batch_req_1",
        "custom_id": "b",
        "response": {"status_code": 200, "request_id": "req-1", "body": answer("Paris.")},
        "error": None,
    },
    # Seen in output files: a refusal whose line has no error.
    {
        "id": "batch_req_2",
        "custom_id": "a",
        "response": {"status_code": 400, "body": {"error": {"message": "Too long.", "code": None}}},
        "error": None,
    },
    None,
)
ERRORS = (
    {
        "id": "batch_req_3",
        "custom_id": "c",
        "response": None,
        "error": {"code": "batch_expired", "message": "The completion window expired."},
    },
    {
        "id": "batch_req_4",
        "custom_id": "d",
        "response": {"status_code": 429, "body": {"error": {"message": "slow down"}}},
        "error": None,
    },
)


def file(*lines: Any, torn: bytes = b"") -> Entry:
    return raw(b"".join(json.dumps(line).encode() + b"\n" for line in lines) + torn)


def test_both_files_are_read_and_every_line_is_accounted_for(asked: Any) -> None:
    ended = PartStatus(
        "batch_1", BatchStatus.EXPIRED, output_file_id="file-out", error_file_id="file/err"
    )
    script = [file(*OUTPUT, torn=b'\n  \n{"custom_id": "e", "resp'), file(*ERRORS)]
    lines, server = asked(script, all_lines(ended))
    assert [request.target for request in server.requests] == [
        "/v1/files/file-out/content",
        "/v1/files/file%2Ferr/content",
    ]
    good, refused, null, torn, expired, slow = lines
    assert (good.custom_id, good.completion.text) == ("b", "Paris.")
    assert good.completion.request_id == "req-1"
    assert (refused.custom_id, refused.failure.kind) == ("a", FailureKind.BAD_REQUEST)
    assert refused.failure.message == "Too long."
    assert (null.custom_id, torn.custom_id) == (None, None)
    assert "no object" in null.failure.message
    assert "not JSON" in torn.failure.message
    assert (expired.custom_id, expired.failure.kind) == ("c", FailureKind.EXPIRED)
    assert (slow.custom_id, slow.failure.kind) == ("d", FailureKind.RATE_LIMIT)


def test_a_batch_of_which_all_failed_has_no_output_file(asked: Any) -> None:
    ended = PartStatus("batch_1", BatchStatus.COMPLETED, error_file_id="file-err")
    lines, server = asked([file(*ERRORS)], all_lines(ended))
    assert [line.custom_id for line in lines] == ["c", "d"]
    assert len(server.requests) == 1


def test_a_batch_without_files_has_no_results(asked: Any) -> None:
    lines, server = asked([], all_lines(PartStatus("batch_1", BatchStatus.FAILED)))
    assert lines == []
    assert server.requests == ()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (cut_body(file(*OUTPUT), after=300), FailureKind.TRANSIENT),  # after the first line
        (error(404, "the file has expired"), FailureKind.NOT_FOUND),
        (too_many(3), FailureKind.RATE_LIMIT),
    ],
)
def test_nothing_is_given_of_a_file_that_did_not_come_whole(
    opened: Opened, reply: Entry, kind: FailureKind
) -> None:
    ended = PartStatus("batch_1", BatchStatus.COMPLETED, output_file_id="file-out")

    async def main() -> list[BatchLine]:
        given = []
        async with opened(server.url) as backend:
            with pytest.raises(EngineError) as caught:
                given += [line async for line in backend.results(ended, None)]
        assert caught.value.failure.kind is kind
        return given

    with FaultServer([reply]) as server:
        assert asyncio.run(main()) == []


def test_many_lines_come_in_their_order(asked: Any) -> None:
    # More than are handed on at once.
    rows = [
        {"custom_id": str(row), "response": {"status_code": 200, "body": answer("x" * 1000)}}
        for row in range(2000)
    ]
    ended = PartStatus("batch_1", BatchStatus.COMPLETED, output_file_id="file-out")
    lines, _ = asked([file(*rows)], all_lines(ended))
    assert [line.custom_id for line in lines] == [str(row) for row in range(2000)]


class Shouting(ChatCompletionsEngine):
    """Gives answers back in another form than they came in."""

    quirks = BATCHES["quirks"]

    def as_asked(self, completion: Completion, constraint: Any) -> Completion:
        import attrs

        message = Message(Role.ASSISTANT, f"{constraint}: {completion.text}")
        return attrs.evolve(completion, message=message)


def test_answers_come_back_as_the_engine_gives_them(opened: Opened, asks: Asks) -> None:
    ended = PartStatus("batch_1", BatchStatus.COMPLETED, output_file_id="file-out")
    constraint: Any = "as asked"

    async def main() -> None:
        async with opened(server.url, cls=Shouting) as backend:
            lines = [line async for line in backend.results(ended, constraint)]
        assert [line.completion.text for line in lines if line.completion] == ["as asked: Paris."]

    with FaultServer([file(*OUTPUT)]) as server:
        asyncio.run(main())


@pytest.mark.parametrize("status", ["completed", "cancelled", "cancelling", "expired"])
def test_what_has_ended_need_not_be_canceled(asked: Any, status: str) -> None:
    script = [error(409, "it has ended"), batch(status=status)]
    _, server = asked(script, lambda backend: backend.cancel("batch_1"))
    assert server.requests[0].target == "/v1/batches/batch_1/cancel"


def test_a_cancellation(asked: Any) -> None:
    _, server = asked([batch(status="cancelling")], lambda backend: backend.cancel("batch_1"))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "script", [[error(400, "not now"), batch()], [error(404)], [error(503)], [error(401)]]
)
def test_a_cancellation_that_is_refused(asked: Any, script: list[Entry]) -> None:
    with pytest.raises(EngineError):
        asked(script, lambda backend: backend.cancel("batch_1"))


async def handles(backend: BatchBackend) -> list[str]:
    return [part.handle async for part in backend.list()]


def test_the_list_goes_on_page_by_page(asked: Any) -> None:
    first = {"id": "batch_2", "status": "completed", "metadata": {"oumi_token": "t"}}
    second = {"id": "batch_1", "status": "expired"}
    script = [
        said(data=[first], has_more=True, last_id="batch_2"),
        said(data=[second], has_more=False),
    ]
    found, server = asked(script, handles)
    assert found == ["batch_2", "batch_1"]
    targets = [request.target for request in server.requests]
    assert targets == ["/v1/batches?limit=100", "/v1/batches?limit=100&after=batch_2"]


def test_the_list_ends_where_pages_repeat(asked: Any) -> None:
    page = said(data=[{"id": "batch_1", "status": "expired"}], has_more=True, last_id="batch_1")
    found, server = asked([page, page, page], handles)
    assert found == ["batch_1", "batch_1"]
    assert len(server.requests) == 2


def test_no_more_pages_are_asked_for_than_are_looked_at(asked: Any) -> None:
    page = said(data=[{"id": "batch_1", "status": "expired"}], has_more=True, last_id="batch_1")

    async def first(backend: BatchBackend) -> str:
        listed: Any = backend.list()
        part: PartStatus = await anext(listed)
        await listed.aclose()
        return part.handle

    found, server = asked([page, page], first)
    assert found == "batch_1"
    assert len(server.requests) == 1


def test_the_query_of_the_users_url_is_kept(opened: Opened) -> None:
    async def main() -> None:
        async with opened(f"{server.url}/v1?tier=2") as backend:
            assert await handles(backend) == []

    with FaultServer([said(data=[])]) as server:
        asyncio.run(main())
    assert server.requests[0].target == "/v1/batches?tier=2&limit=100"


def test_a_proxy_that_tunnels_is_not_shown_the_key(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with opened("https://api.example", api_key="sk-1") as backend:
            with pytest.raises(EngineError, match="the proxy before https://api"):
                await backend.status("batch_1")

    with FaultServer([raw("no", status=407)]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        asyncio.run(main())
    assert proxy.requests[0].method == "CONNECT"
    assert "authorization" not in proxy.requests[0].headers


NO_ROOM = """
import asyncio, resource, sys
from oumi_core.batching.status import BatchStatus, PartStatus
from oumi_core.configs import ModelParams, RemoteParams
from oumi_core.engine import EngineConfig
from oumi_core.errors import RunStopped
from oumi_http.remote import RemoteEngine

arguments = {"quirks": {"batches": True}}
params = RemoteParams(api_url=sys.argv[1])
engine = RemoteEngine(EngineConfig(ModelParams(model_name="m"), params, arguments))
ended = PartStatus("batch_1", BatchStatus.COMPLETED, output_file_id="file-out")

async def main():
    try:
        async for line in engine.batch_backend().results(ended, None):
            print("a line")
    except RunStopped as error:
        print(error)

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
asyncio.run(main())
"""


def test_a_file_for_which_there_is_no_room_stops_it_and_says_where() -> None:
    with FaultServer([raw(b"x" * 10_000)]) as server:
        done = subprocess.run(
            [sys.executable, "-B", "-c", NO_ROOM, server.url],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.startswith("the results of a batch cannot be stored in ")
    assert "File too large; make room, or set TMPDIR" in done.stdout
    assert done.stderr == ""

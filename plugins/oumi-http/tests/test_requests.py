"""What goes over the wire, and what comes back of it."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from oumi_core.configs import ModelParams, RemoteParams
from oumi_core.engine import EngineConfig
from oumi_core.errors import ConfigError, EngineError
from oumi_core.guided.constraint import JsonSchema
from oumi_core.providers import Provider
from oumi_core.testing import FaultServer, completion, models, raw, slow_drip
from oumi_core.types.completion import Chunk, Completion, FinishReason, Usage
from oumi_core.types.conversation import ContentItem, ContentType, Message, Role
from oumi_core.types.failure import FailureKind
from oumi_core.types.tool_call import ToolCall, ToolDefinition

from oumi_http.engine import ChatCompletionsEngine
from oumi_http.remote import RemoteEngine

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Asks, Started

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_plain_request(started: Started, asks: Asks) -> None:
    async def main() -> Completion:
        async with started(server.url, api_key="sk-1") as engine:
            return await engine.complete(asks("hello there", max_new_tokens=7, seed=3))

    with FaultServer([completion(headers={"X-Request-Id": "req-1"})]) as server:
        answer = asyncio.run(main())
    assert (answer.text, answer.usage, answer.model) == ("hello there", Usage(2, 2), "m")
    assert (answer.finish_reason, answer.request_id) == (FinishReason.STOP, "req-1")
    request = server.requests[0]
    assert (request.method, request.target) == ("POST", "/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-1"
    assert request.headers["content-type"] == "application/json"
    assert request.json == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello there"}],
        "max_tokens": 7,
        "temperature": 0.0,
        "seed": 3,
    }


def test_without_a_key_none_is_sent(started: Started, asks: Asks) -> None:
    async def main() -> None:
        async with started(server.url) as engine:
            await engine.complete(asks())

    with FaultServer() as server:
        asyncio.run(main())
    assert "authorization" not in server.requests[0].headers


async def pieces(engine: ChatCompletionsEngine, request: Any) -> list[Chunk | Completion]:
    return [piece async for piece in engine.stream(request)]


@pytest.mark.parametrize("drip", [False, True])
def test_a_stream(started: Started, asks: Asks, *, drip: bool) -> None:
    async def main() -> list[Chunk | Completion]:
        async with started(server.url) as engine:
            return await pieces(engine, asks())

    line = completion("one two three", usage=(5, 6), headers={"X-Request-Id": "req-2"})
    with FaultServer([slow_drip(line, pause=0.0001, size=7) if drip else line]) as server:
        *chunks, last = asyncio.run(main())
    texts = [piece.text for piece in chunks if isinstance(piece, Chunk)]
    assert texts == ["one", " two", " three"]
    assert isinstance(last, Completion)
    assert (last.text, last.usage, last.request_id) == ("one two three", Usage(5, 6), "req-2")
    assert server.requests[0].json["stream"] is True
    assert server.requests[0].json["stream_options"] == {"include_usage": True}


def test_a_server_that_does_not_stream_gives_one_piece(started: Started, asks: Asks) -> None:
    async def main() -> list[Chunk | Completion]:
        async with started(server.url) as engine:
            return await pieces(engine, asks())

    body = '{"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}'
    with FaultServer([raw(body)]) as server:
        chunk, last = asyncio.run(main())
    assert isinstance(chunk, Chunk)
    assert isinstance(last, Completion)
    assert chunk.text == last.text == "whole"


TOOL = ToolDefinition.from_dict(
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
    }
)


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_go_out_and_calls_come_back(started: Started, asks: Asks, *, streamed: bool) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    line = completion("", finish_reason="tool_calls", message={"tool_calls": [call]})

    async def main() -> Completion:
        async with started(server.url) as engine:
            request = asks(tools=[TOOL], tool_choice="required")
            if not streamed:
                return await engine.complete(request)
            last = (await pieces(engine, request))[-1]
            assert isinstance(last, Completion)
            return last

    with FaultServer([line]) as server:
        answer = asyncio.run(main())
    assert [one.function.name for one in answer.message.tool_calls or ()] == ["weather"]
    assert server.requests[0].json["tools"] == [TOOL.to_dict()]
    assert server.requests[0].json["tool_choice"] == "required"


def test_the_answers_of_tools_go_back(started: Started, asks: Asks) -> None:
    call = ToolCall.from_dict(
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    )
    turns = [
        Message(Role.USER, "weather?"),
        Message(Role.ASSISTANT, None, tool_calls=[call], reasoning_content="let me look"),
        Message(Role.TOOL, "sunny", tool_call_id="c1"),
    ]

    async def main() -> None:
        async with started(server.url) as engine:
            await engine.complete(asks(turns, tools=None))
        quirks = {"quirks": {"reasoning_field": "reasoning"}}
        async with started(server.url, engine_args=quirks) as engine:
            await engine.complete(asks(turns))

    with FaultServer() as server:
        asyncio.run(main())
    sent = [request.json["messages"] for request in server.requests]
    assert sent[0][1] == {"role": "assistant", "tool_calls": [call.to_dict()]}
    assert sent[0][2] == {"role": "tool", "content": "sunny", "tool_call_id": "c1"}
    assert sent[1][1]["reasoning"] == "let me look"


def test_a_schema_goes_out_as_response_format(started: Started, asks: Asks) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}

    async def main() -> Completion:
        async with started(server.url) as engine:
            constraint = JsonSchema(schema, name="Answer")
            await engine.check_constraint(constraint)
            return await engine.complete(asks(constraint=constraint))

    with FaultServer([completion('{"a": 1}')]) as server:
        answer = asyncio.run(main())
    assert answer.text == '{"a": 1}'
    assert server.requests[0].json["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "Answer", "schema": schema},
    }


def test_logprobs_and_reasoning_come_back(started: Started, asks: Asks) -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.5}]}
    line = completion("a", message={"reasoning_content": "hm"}, choice={"logprobs": logprobs})

    async def main() -> Completion:
        async with started(server.url) as engine:
            return await engine.complete(asks(logprobs=True, top_logprobs=2))

    with FaultServer([line]) as server:
        answer = asyncio.run(main())
    assert (answer.logprobs, answer.message.reasoning_content) == (logprobs, "hm")
    assert server.requests[0].json["top_logprobs"] == 2


def turn(*items: ContentItem) -> list[Message]:
    return [Message(Role.USER, [*items, ContentItem(ContentType.TEXT, "what is it?")])]


def test_images_by_url_bytes_and_allowed_path(started: Started, asks: Asks, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "photo.jpg").write_bytes(PNG)  # its name lies
    images = turn(
        ContentItem(ContentType.IMAGE_URL, "https://a.example/i.png"),
        ContentItem(ContentType.IMAGE_BINARY, binary=PNG),
        ContentItem(ContentType.IMAGE_PATH, "sub/photo.jpg"),
        ContentItem(ContentType.IMAGE_PATH, str(tmp_path / "sub" / "photo.jpg")),
    )

    async def main() -> None:
        allowed = {"allowed_media_path": str(tmp_path)}
        async with started(server.url, engine_args=allowed) as engine:
            await engine.complete(asks(images))

    with FaultServer() as server:
        asyncio.run(main())
    data = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    sent = server.requests[0].json["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in sent[:4]] == [
        "https://a.example/i.png",
        data,
        data,
        data,
    ]


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("../secret.png", "outside of engine_args.allowed_media_path"),
        ("/etc/passwd", "outside of engine_args.allowed_media_path"),
        ("link.png", "outside of engine_args.allowed_media_path"),
        ("missing.png", "missing.png is not there"),
        (".", "is no file"),
        ("a\0b", "cannot be read"),
        ("text.png", "no known type"),
    ],
)
def test_a_path_out_of_the_data_leads_nowhere_else(
    started: Started, asks: Asks, tmp_path: Path, place: str, why: str
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "secret.png").write_bytes(PNG)
    (allowed / "link.png").symlink_to(tmp_path / "secret.png")
    (allowed / "text.png").write_text("words")

    async def main() -> None:
        async with started(server.url, engine_args={"allowed_media_path": str(allowed)}) as engine:
            await engine.complete(asks(turn(ContentItem(ContentType.IMAGE_PATH, place))))

    with FaultServer() as server, pytest.raises(EngineError, match=why) as caught:
        asyncio.run(main())
    assert caught.value.failure.kind is FailureKind.BAD_REQUEST
    assert server.requests == ()


def test_without_an_allowed_folder_no_file_is_read(started: Started, asks: Asks) -> None:
    async def main() -> None:
        async with started("http://127.0.0.1:9") as engine:
            await engine.complete(asks(turn(ContentItem(ContentType.IMAGE_PATH, __file__))))

    with pytest.raises(EngineError, match="allowed_media_path"):
        asyncio.run(main())


def test_models_are_listed(started: Started) -> None:
    async def main() -> list[str]:
        async with started(f"{server.url}/openai/v1?api-version=1", api_key="sk-1") as engine:
            return await engine.list_models()

    with FaultServer([models("b", "a")]) as server:
        assert asyncio.run(main()) == ["a", "b"]
    request = server.requests[0]
    assert (request.method, request.target) == ("GET", "/openai/v1/models?api-version=1")
    assert request.headers["authorization"] == "Bearer sk-1"


def test_a_list_of_something_else_is_an_error(started: Started) -> None:
    async def main() -> list[str]:
        async with started(server.url) as engine:
            return await engine.list_models()

    with FaultServer([raw("{}")]) as server, pytest.raises(EngineError, match="lists no models"):
        asyncio.run(main())


def test_any_model_is_served() -> None:
    engine = RemoteEngine(EngineConfig(ModelParams("a"), RemoteParams(api_url="localhost")))
    assert engine.serves(ModelParams("b"))
    assert engine.num_workers == 32


class AcmeEngine(ChatCompletionsEngine):
    base_url: ClassVar[str | None] = "https://api.acme.example/v1"
    api_key_env: ClassVar[str | None] = "ACME_API_KEY"
    quirks: ClassVar[dict[str, Any]] = {
        "no_system": True,
        "headers": {"X-Acme": "1"},
        "extra_body": {"safe": True, "tier": "a"},
        "api_key_header": "api-key",
        "unsupported": ["seed"],
    }


def test_a_subclass_is_configured_by_data(
    started: Started, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_API_KEY", "sk-acme")
    turns = [Message(Role.SYSTEM, "be brief"), Message(Role.USER, "hello")]

    async def main() -> None:
        extra = {"headers": {"X-Mine": "2"}, "quirks": {"stream_usage": False}}
        async with started(server.url, cls=AcmeEngine, engine_args=extra, user_id="u1") as engine:
            await engine.complete(asks(turns, extra_body={"tier": "b"}))
            await pieces(engine, asks(turns))
            with pytest.raises(EngineError, match="does not take generation"):
                await engine.complete(asks(turns, seed=1))

    with FaultServer() as server:
        asyncio.run(main())
    first, second = server.requests
    assert first.headers["api-key"] == "sk-acme"
    assert "authorization" not in first.headers
    assert (first.headers["x-acme"], first.headers["x-mine"]) == ("1", "2")
    assert first.json["messages"] == [{"role": "user", "content": "be brief\n\nhello"}]
    assert (first.json["safe"], first.json["tier"], first.json["user"]) == (True, "b", "u1")
    assert first.json["max_completion_tokens"] == 1024
    assert "stream_options" not in second.json


def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACME_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="ACME_API_KEY is not set"):
        AcmeEngine(EngineConfig(ModelParams("m")))


def test_a_server_must_be_named() -> None:
    with pytest.raises(ConfigError, match="api_url: missing"):
        RemoteEngine(EngineConfig(ModelParams("m")))


def test_a_providers_row_is_an_engine(asks: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROW_KEY", "sk-row")

    async def main(provider: Provider) -> None:
        engine = RemoteEngine(EngineConfig(ModelParams("m"), provider=provider))
        await engine.start()
        try:
            await engine.complete(asks())
            with pytest.raises(ConfigError, match="does not hold a JSON schema"):
                await engine.check_constraint(JsonSchema({}))
        finally:
            await engine.stop()

    quirks = {"max_tokens_field": "n_predict", "chat_path": "/chat", "json_schema": False}
    with FaultServer() as server:
        asyncio.run(main(Provider("row", server.url, "ROW_KEY", quirks=quirks)))
    request = server.requests[0]
    assert (request.path, request.headers["authorization"]) == ("/chat", "Bearer sk-row")
    assert request.json["n_predict"] == 1024


def test_a_fault_in_a_row_names_the_provider() -> None:
    for changes, match in (
        ({"quirks": {"no_sistem": True}}, "provider row: quirks.no_sistem: unknown"),
        ({"base_url": "https://row.example/v1/models"}, "provider row: base_url: ends in /models"),
    ):
        fields: dict[str, Any] = {"name": "row", "base_url": "https://row.example", **changes}
        with pytest.raises(ConfigError, match=match):
            RemoteEngine(EngineConfig(ModelParams("m"), provider=Provider(**fields)))


def test_what_is_no_json_fails_the_row(started: Started, asks: Asks) -> None:
    async def main() -> None:
        async with started("http://127.0.0.1:9") as engine:
            await engine.complete(asks(extra_body={"x": object()}))

    with pytest.raises(EngineError, match="cannot be written as JSON") as caught:
        asyncio.run(main())
    assert caught.value.failure.kind is FailureKind.BAD_REQUEST


def test_an_engine_that_is_not_started_says_so(asks: Asks) -> None:
    engine = RemoteEngine(EngineConfig(ModelParams("m"), RemoteParams(api_url="localhost")))
    with pytest.raises(ConfigError, match="not started"):
        asyncio.run(engine.complete(asks()))

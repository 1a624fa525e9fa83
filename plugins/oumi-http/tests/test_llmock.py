"""The engine `remote` against a server that others wrote, asked as users ask."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import oumi_core as oumi
import pytest
from oumi_core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.conversation import ContentItem, ContentType, Conversation, Message, Role
from oumi_core.types.failure import FailureKind
from oumi_core.types.tool_call import ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmock.pytest_plugin import LLMock
    from oumi_core.inference import InferenceEngine

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def made(llmock: LLMock, **remote: Any) -> InferenceEngine:
    params = {
        "api_url": llmock.base_url("openai"),
        "api_key": "sk-test",
        "max_retries": 0,
        "retry_policy": "none",
        **remote,
    }
    config = InferenceConfig(
        model=ModelParams(model_name="gpt-4o-mini"), remote_params=RemoteParams(**params)
    )
    return oumi.get_engine("remote", config)


@pytest.fixture
def engine(llmock: LLMock) -> Iterator[InferenceEngine]:
    with made(llmock) as engine:
        yield engine


def asking(text: str, *images: ContentItem) -> Conversation:
    content = [*images, ContentItem(ContentType.TEXT, text)] if images else text
    return Conversation([Message(Role.USER, content)])


def test_answers_in_order(llmock: LLMock, engine: InferenceEngine) -> None:
    llmock.reply("Paris.", times=None)
    rows = engine.infer([asking(f"row {number}") for number in range(50)])
    assert [row.messages[0].content for row in rows] == [f"row {number}" for number in range(50)]
    assert {row.messages[-1].content for row in rows} == {"Paris."}


def test_a_stream(llmock: LLMock, engine: InferenceEngine) -> None:
    llmock.reply("one two three")
    stream = engine.stream(asking("count"))
    assert "".join(stream) == "one two three"


def test_a_tool_call(llmock: LLMock, engine: InferenceEngine) -> None:
    function = {"name": "weather", "parameters": {"type": "object", "properties": {}}}
    tool = ToolDefinition.from_dict({"type": "function", "function": function})
    llmock.call_tool("weather", {"city": "Oslo"})
    (row,) = engine.infer([Conversation([Message(Role.USER, "weather?")], tools=[tool])])
    calls = row.messages[-1].tool_calls
    assert calls is not None
    (call,) = calls
    assert call.function.name == "weather"
    assert "Oslo" in call.function.arguments


def test_an_image(llmock: LLMock, engine: InferenceEngine) -> None:
    llmock.reply("a dot")
    image = ContentItem(ContentType.IMAGE_BINARY, binary=PNG)
    (row,) = engine.infer([asking("what is it?", image)])
    assert row.messages[-1].content == "a dot"


def test_structured_output(llmock: LLMock, engine: InferenceEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    config = InferenceConfig(
        generation=GenerationParams(guided_decoding=GuidedDecodingParams(json=schema))
    )
    llmock.reply('{"name": "Ada"}')
    llmock.reply('{"nom": "Ada"}')
    results = list(engine.run([asking("who?")], inference_config=config))
    assert results[0].parsed == {"name": "Ada"}
    results = list(engine.run([asking("who?")], inference_config=config))
    assert results[0].error is not None
    assert results[0].error.kind is FailureKind.INVALID_OUTPUT


def test_a_regex_is_refused_before_anything_is_sent(
    llmock: LLMock, engine: InferenceEngine
) -> None:
    guided = GuidedDecodingParams(regex="[0-9]+")
    config = InferenceConfig(generation=GenerationParams(guided_decoding=guided))
    with pytest.raises(ConfigError, match="regex"):
        engine.infer([asking("a number")], config)
    assert llmock.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, FailureKind.RATE_LIMIT),
        (400, FailureKind.BAD_REQUEST),
        (401, FailureKind.AUTH),
        (404, FailureKind.NOT_FOUND),
        (500, FailureKind.TRANSIENT),
        (503, FailureKind.TRANSIENT),
    ],
)
def test_an_error_is_a_failed_row(llmock: LLMock, status: int, kind: FailureKind) -> None:
    llmock.fail(status, retry_after=3 if status == 429 else None)
    with made(llmock) as engine:
        (result,) = engine.run([asking("hello")])
    assert result.error is not None
    assert result.error.kind is kind or (status == 503 and result.error.retryable)
    assert result.error.status == status
    if status == 429:
        assert result.error.retry_after == 3


@pytest.mark.parametrize("fault", ["disconnect", "truncate", "corrupt"])
def test_a_broken_stream_is_noticed(llmock: LLMock, engine: InferenceEngine, fault: str) -> None:
    llmock.reply("one two three four five")
    getattr(llmock, fault)(after_chunks=2)
    with pytest.raises(EngineError, match="transient"):
        "".join(engine.stream(asking("count")))


def test_the_model_list(engine: InferenceEngine) -> None:
    assert "gpt-4o-mini" in engine.list_models()


def test_a_run_survives_what_the_server_does_to_it(llmock: LLMock) -> None:
    llmock.rate_limit(times=3, retry_after=0.3)
    llmock.fail(500, times=3)
    llmock.fail(503, times=3)
    llmock.delay(0.5, times=2)
    llmock.context_overflow(times=1)
    policy = {"retry_policy": "standard", "max_retries": 5, "retry_backoff_base": 0.05}
    with made(llmock, **policy, connection_timeout=0.3) as engine:
        results = list(engine.run([asking(f"row {number}") for number in range(40)]))
    failed = [result for result in results if not result.ok]
    assert [result.error.kind for result in failed if result.error] == [FailureKind.BAD_REQUEST]
    assert len(llmock.requests) >= 40 + 3 + 3 + 3
    llmock.assert_resilient()


def test_a_run_holds_to_the_quota_that_the_server_enforces(llmock: LLMock) -> None:
    llmock.limits(rpm=600)
    with made(llmock, retry_policy="standard", num_workers=16) as engine:
        results = list(engine.run([asking(f"row {number}") for number in range(620)]))
    assert all(result.ok for result in results)
    llmock.assert_resilient(strict=True)


def test_an_outage_ends_the_run(llmock: LLMock) -> None:
    llmock.outage()
    with made(
        llmock, retry_policy="standard", max_retries=3, retry_backoff_base=0.01, row_deadline=2.0
    ) as engine:
        run = engine.run([asking(f"row {number}") for number in range(1000)])
        results = list(run)
    assert run.stopped() is not None
    assert not any(result.ok for result in results)
    assert len(llmock.requests) <= 100 + len(results) + 2 * 32


@pytest.mark.slow
# llmock does not close the files that it is sent.
@pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning")
def test_a_batch(llmock: LLMock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OUMI_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("LLMOCK_RESPONSE_STYLE", "echo")
    rows = [asking(f"row {number}\u2028of more") for number in range(30)]
    config = InferenceConfig(engine_args={"quirks": {"batches": True}})
    with made(llmock) as engine:
        batch_id = engine.infer_batch(rows, config)
        info = engine.wait_batch(batch_id, config)
        answered = engine.get_batch_results(batch_id, rows[::-1], config)
    assert (info.status, info.batching, info.completed_requests) == ("completed", "provider", 30)
    assert [row.messages[-1].content for row in answered] == [
        f"Hello! You said: row {number} of more" for number in reversed(range(30))
    ]

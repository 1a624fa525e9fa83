"""What comes of a batch: the same as online, and nothing that is paid for is lost."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import attrs
import oumi_core as oumi
import pytest
from oumi_core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)
from oumi_core.data.openai_batch import read_openai_batch
from oumi_core.errors import ConfigError, RunStopped
from oumi_core.testing import FaultServer, completion, error, raw, too_many
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.types.failure import FailureKind
from oumi_core.types.tool_call import ToolDefinition

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.inference import InferenceEngine
    from oumi_core.testing import Received
    from oumi_core.testing.replies import Reply
    from oumi_core.types.result import Result

BOOK = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "pages": {"type": "integer"}},
    "required": ["title"],
}
WEATHER = ToolDefinition.from_dict(
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUMI_STATE_DIR", str(tmp_path))


def said(**fields: Any) -> Reply:
    return raw(json.dumps(fields))


def answer(row: int, message: dict[str, Any], finish_reason: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    body = {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    return {"row": row, "response": {"status_code": 200, "body": body}, "error": None}


def text(row: int, content: str) -> dict[str, Any]:
    return answer(row, {"role": "assistant", "content": content})


@attrs.define
class Provider:
    """A provider whose batches end at once, as they are told to.

    Attributes:
        end: fields of a batch, beside its id and metadata.
        output: lines of the output file; `row` stands for the custom id of that row.
        errors: lines of the error file, likewise.
        faults: what is done with a request in place of an answer, by method and path; each once,
            after the request took effect.
    """

    end: dict[str, Any] = attrs.field(factory=lambda: {"status": "completed"})
    output: list[dict[str, Any]] = attrs.field(factory=list)
    errors: list[dict[str, Any]] = attrs.field(factory=list)
    faults: dict[tuple[str, str], Reply] = attrs.field(factory=dict)
    custom_ids: list[str] = attrs.field(factory=list)
    bodies: list[dict[str, Any]] = attrs.field(factory=list)
    batches: list[dict[str, Any]] = attrs.field(factory=list)

    def __call__(self, request: Received) -> Reply:
        reply = self._answer(request)
        return self.faults.pop((request.method, request.path), reply)

    def _answer(self, request: Received) -> Reply:
        match (request.method, request.path.split("/")[2:]):
            case ("POST", ["files"]):
                self._store(request.body)
            case ("POST", ["batches"]):
                self._make(request.json["metadata"])
                return said(**{**self.batches[-1], "status": "validating"})
            case ("GET", ["batches", _]):
                return said(**self.batches[-1])
            case ("GET", ["batches"]):
                return said(data=self.batches[::-1], has_more=False)
            case ("GET", ["files", name, "content"]):
                return self._file({"file-out": self.output, "file-err": self.errors}[name])
        return said(id="file-in", status="processed")

    def _make(self, metadata: dict[str, str]) -> None:
        files = {
            "output_file_id": "file-out" if self.output else None,
            "error_file_id": "file-err" if self.errors else "",
        }
        made = {"id": f"batch_{len(self.batches)}", **files, "metadata": metadata}
        self.batches.append({**made, **self.end})

    def _store(self, form: bytes) -> None:
        lines = [json.loads(line) for line in form.splitlines() if line.startswith(b'{"custom_id"')]
        self.custom_ids = [line["custom_id"] for line in lines]
        self.bodies = [line["body"] for line in lines]

    def _file(self, lines: list[dict[str, Any]]) -> Reply:
        named = ({**line, "custom_id": self.custom_ids[line["row"]]} for line in lines)
        return raw("\n".join(json.dumps(line) for line in named))


def made(url: str, **remote: Any) -> InferenceEngine:
    params = {"api_url": url, "api_key": "sk-test", "retry_backoff_base": 0.01, **remote}
    config = InferenceConfig(
        model=ModelParams(model_name="gpt-4o-mini"), remote_params=RemoteParams(**params)
    )
    return oumi.get_engine("openai", config)


def asking(*texts: str, tools: Any = None) -> list[Conversation]:
    return [Conversation([Message(Role.USER, one)], tools=tools) for one in texts]


def batched(
    provider: Provider, rows: list[Conversation], config: InferenceConfig | None = None
) -> tuple[Result, ...]:
    with FaultServer(then=provider) as server, made(server.url) as engine:
        batch_id = engine.infer_batch(rows, config)
        engine.get_batch_status(batch_id)
        return engine.get_batch_results_partial(batch_id).results


def guided(**constraint: Any) -> InferenceConfig:
    params = GuidedDecodingParams(**constraint)
    return InferenceConfig(generation=GenerationParams(guided_decoding=params))


@pytest.mark.parametrize(
    ("config", "message", "finish_reason"),
    [
        (None, {"content": "Paris."}, "stop"),
        (guided(json=BOOK), {"content": '{"title": "Emma", "pages": null}'}, "stop"),
        (guided(json=BOOK), {"content": '{"title": 7, "pages": null}'}, "stop"),
        (guided(json=BOOK), {"content": '{"title": "Em'}, "length"),
        (guided(json=BOOK), {"content": None, "refusal": "I cannot help with that."}, "stop"),
        (guided(choice=["yes", "no"]), {"content": '{"value": "yes"}'}, "stop"),
        (guided(regex="[0-9]{3}"), {"content": '{"value": "12"}'}, "stop"),
        (None, {"content": None, "tool_calls": [CALL]}, "tool_calls"),
        (None, {"content": ""}, "stop"),
        (None, {"content": "no"}, "content_filter"),
    ],
)
def test_an_answer_means_in_a_batch_what_it_means_online(
    config: InferenceConfig | None, message: dict[str, Any], finish_reason: str
) -> None:
    message = {"role": "assistant", **message}
    rows = asking("tell me", tools=[WEATHER] if "tool_calls" in message else None)
    entry = completion(message=message, finish_reason=finish_reason, usage=(3, 2))
    with FaultServer([entry]) as server, made(server.url) as engine:
        (online,) = engine.run(rows, inference_config=config)
    provider = Provider(output=[answer(0, message, finish_reason)])
    (result,) = batched(provider, rows, config)
    assert provider.bodies == [server.requests[0].json]
    assert (result.ok, result.text, result.parsed, result.checked) == (
        *(online.ok, online.text),
        *(online.parsed, online.checked),
    )
    assert result.error == online.error
    assert result.usage == online.usage
    assert result.conversation.messages == online.conversation.messages


def test_a_guided_batch_gives_what_was_asked_for() -> None:
    provider = Provider(output=[text(0, '{"title": "Emma", "pages": null}')])
    (result,) = batched(provider, asking("a book"), guided(json=BOOK))
    assert result.parsed == {"title": "Emma"}
    schema = provider.bodies[0]["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["required"] == ["title", "pages"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("expired", FailureKind.EXPIRED),
        ("cancelled", FailureKind.CANCELED),
        ("failed", FailureKind.MISSING),
        ("completed", FailureKind.MISSING),
    ],
)
def test_what_was_finished_before_the_end_is_kept(status: str, kind: FailureKind) -> None:
    provider = Provider(end={"status": status}, output=[text(1, "b!")])
    first, second, third = batched(provider, asking("a", "b", "c"))
    assert second.text == "b!"
    for result in (first, third):
        assert result.error is not None
        assert result.error.kind is kind


def test_a_batch_of_which_all_rows_failed() -> None:
    body = {"error": {"message": "Too long.", "code": "context_length_exceeded"}}
    refused = {"response": {"status_code": 400, "body": body}, "error": None}
    provider = Provider(errors=[{"row": 0, **refused}, {"row": 1, **refused}])
    for result in batched(provider, asking("a", "b")):
        assert result.error is not None
        assert (result.error.kind, result.error.status) == (FailureKind.BAD_REQUEST, 400)


def test_a_batch_that_is_refused_says_which_row_is_at_fault() -> None:
    fault = {"code": "invalid_request", "message": "No such role.", "line": 2, "param": None}
    provider = Provider(
        end={"status": "failed", "errors": {"data": [fault]}, "request_counts": None}
    )
    with FaultServer(then=provider) as server, made(server.url) as engine:
        batch_id = engine.infer_batch(asking("a", "b"))
        status = engine.get_batch_status(batch_id)
        first, second = engine.get_batch_results_partial(batch_id).results
    (found,) = status.errors
    assert (found.code, found.message, found.line, found.row) == (
        *("invalid_request", "No such role."),
        *(2, 1),
    )
    assert first.error is not None
    assert second.error is not None
    assert (first.error.kind, second.error.kind) == (FailureKind.MISSING, FailureKind.BAD_REQUEST)


def test_a_state_that_nobody_knows_is_not_the_end() -> None:
    provider = Provider(end={"status": "resting"})
    with FaultServer(then=provider) as server, made(server.url) as engine:
        status = engine.get_batch_status(engine.infer_batch(asking("a")))
    assert status.status == "resting"
    assert not status.is_terminal


@pytest.mark.parametrize(
    "fault",
    [
        {("POST", "/v1/files"): error(503)},
        {("POST", "/v1/files"): too_many(0.1)},
        {("GET", "/v1/batches/batch_0"): error(500)},
        {("GET", "/v1/files/file-out/content"): error(502)},
    ],
)
def test_calls_that_fail_for_a_moment_are_made_again(fault: Any) -> None:
    provider = Provider(output=[text(0, "a!")], faults=fault)
    (result,) = batched(provider, asking("a"))
    assert result.text == "a!"
    assert len(provider.batches) == 1


def test_a_batch_that_was_made_though_the_answer_got_lost_is_found_again() -> None:
    lost = {("POST", "/v1/batches"): error(500)}
    provider = Provider(output=[text(0, "a!")], faults=lost)
    (result,) = batched(provider, asking("a"))
    assert result.text == "a!"
    assert len(provider.batches) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(401, code="invalid_api_key"), FailureKind.AUTH),
        (error(429, code="insufficient_quota"), FailureKind.QUOTA),
    ],
)
def test_an_account_that_cannot_stops_it_and_the_same_call_goes_on(
    reply: Reply, kind: FailureKind
) -> None:
    provider = Provider(output=[text(0, "a!")], faults={("POST", "/v1/files"): reply})
    with FaultServer(then=provider) as server, made(server.url) as engine:
        with pytest.raises(RunStopped) as caught:
            engine.infer_batch(asking("a"))
        assert caught.value.failure is not None
        assert caught.value.failure.kind is kind
        assert "sk-test" not in str(caught.value)
        batch_id = engine.infer_batch(asking("a"))
        engine.get_batch_status(batch_id)
        (result,) = engine.get_batch_results_partial(batch_id).results
    assert result.text == "a!"
    assert len(provider.batches) == 1


@pytest.mark.parametrize("is_told", [True, False])
def test_the_rest_is_sent_again_alone(*, is_told: bool) -> None:
    expired = {"row": 1, "response": None, "error": {"code": "batch_expired"}}
    provider = Provider(
        end={"status": "expired"}, output=[text(0, "a!")], errors=[expired] if is_told else []
    )
    with FaultServer(then=provider) as server, made(server.url) as engine:
        batch_id = engine.infer_batch(asking("a", "b"))
        engine.get_batch_status(batch_id)
        engine.get_batch_results_partial(batch_id)
        provider.end, provider.errors = {"status": "completed"}, []
        provider.output = [text(0, "b!")]
        engine.resubmit_batch(batch_id)
        assert [body["messages"][-1]["content"] for body in provider.bodies] == ["b"]
        answers = [row.messages[-1].content for row in engine.get_batch_results(batch_id)]
    assert answers == ["a!", "b!"]
    assert len(provider.batches) == 2


def test_a_batch_for_which_the_provider_had_no_room_can_be_sent_again_whole() -> None:
    full = {"code": "token_limit_exceeded", "message": "Enqueued token limit.", "line": None}
    provider = Provider(end={"status": "failed", "errors": {"data": [full]}})
    with FaultServer(then=provider) as server, made(server.url) as engine:
        batch_id = engine.infer_batch(asking("a", "b"))
        engine.get_batch_status(batch_id)
        for result in engine.get_batch_results_partial(batch_id).results:
            assert result.error is not None
            assert (result.error.kind, result.error.code) == (FailureKind.MISSING, full["code"])
            assert result.error.retryable
        provider.end, provider.output = {"status": "completed"}, [text(0, "a!"), text(1, "b!")]
        engine.resubmit_batch(batch_id)
        answers = [row.messages[-1].content for row in engine.get_batch_results(batch_id)]
    assert answers == ["a!", "b!"]


BOOK_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "book", "schema": BOOK, "strict": False},
}


def given_file(folder: Path, *bodies: dict[str, Any]) -> Path:
    """An OpenAI batch file whose requests hold these bodies, named `id 0`, `id 1` and so on."""
    path = folder / "requests.jsonl"
    lines = (
        {"custom_id": f"id {at}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for at, body in enumerate(bodies)
    )
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def asking_body(content: Any, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": content}]
    return {"model": "gpt-4o-mini", "messages": messages, **fields}


def test_the_bodies_of_a_file_are_sent_as_they_are_and_its_ids_come_back(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": "low"}}
    bodies = [
        asking_body("a"),
        asking_body("b", temperature=3, max_tokens=7, stop="END", n=2, seed=None),
        asking_body("c", response_format=BOOK_FORMAT, service_tier="flex", own={"deep": [1, {}]}),
        asking_body(
            [{"type": "text", "text": "d"}, image], tools=[WEATHER.to_dict()], tool_choice="none"
        ),
        asking_body("e", response_format=BOOK_FORMAT),
    ]
    book = '{"title": "Emma", "pages": 5}'
    provider = Provider(
        output=[text(3, "d!"), text(0, "a!"), text(2, book), text(1, "b!"), text(4, '{"title": 7}')]
    )
    out = tmp_path / "out.jsonl"
    file = read_openai_batch(given_file(tmp_path, *bodies))
    with FaultServer(then=provider) as server, made(server.url) as engine:
        batch_id = engine.infer_batch(file)
        assert engine.wait_batch(batch_id).outcomes == {"ok": 4, "failed": 1}
        results = engine.get_batch_results_partial(batch_id, list(file)).results
        engine.write_batch_results(batch_id, out, form="openai-batch")
    assert provider.bodies == bodies
    assert [result.text for result in results] == ["a!", "b!", book, "d!", '{"title": 7}']
    assert (results[2].parsed, results[2].checked) == ({"title": "Emma", "pages": 5}, True)
    assert results[4].error is not None
    assert results[4].error.kind is FailureKind.INVALID_OUTPUT
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["custom_id"] for line in written] == ["id 0", "id 1", "id 2", "id 3"]
    (failed,) = (tmp_path / "out.jsonl.failed.jsonl").read_text().splitlines()
    assert json.loads(failed)["custom_id"] == "id 4"


def test_the_model_of_the_config_is_that_of_all_requests(tmp_path: Path) -> None:
    provider = Provider(output=[text(0, "a!")])
    file = read_openai_batch(given_file(tmp_path, {**asking_body("a"), "model": "another"}))
    with FaultServer(then=provider) as server, made(server.url) as engine:
        engine.wait_batch(engine.infer_batch(file))
    assert provider.bodies == [asking_body("a")]


def test_what_a_config_would_add_to_the_requests_of_a_file_is_said_or_refused(
    tmp_path: Path,
) -> None:
    file = read_openai_batch(given_file(tmp_path, asking_body("a")))
    warm = InferenceConfig(generation=GenerationParams(temperature=0.5))
    provider = Provider(output=[text(0, "a!")])
    with FaultServer(then=provider) as server, made(server.url) as engine:
        with pytest.raises(ConfigError, match=r"generation\.temperature: not used"):
            engine.infer_batch(file, attrs.evolve(warm, on_unsupported="error"))
        with pytest.raises(ConfigError, match="say it in their response_format"):
            engine.infer_batch(file, guided(choice=["a", "b"]))
        with pytest.warns(UserWarning, match=r"generation\.temperature: not used"):
            engine.infer_batch(file, warm)
    assert provider.bodies == [asking_body("a")]
    assert len(provider.batches) == 1


def test_the_rest_of_a_file_is_sent_again_as_it_was(tmp_path: Path) -> None:
    bodies = [asking_body("a", temperature=1), asking_body("b", top_p=0.5, own=1)]
    provider = Provider(end={"status": "expired"}, output=[text(0, "a!")])
    with FaultServer(then=provider) as server, made(server.url) as engine:
        batch_id = engine.infer_batch(read_openai_batch(given_file(tmp_path, *bodies)))
        engine.wait_batch(batch_id)
        provider.end, provider.output = {"status": "completed"}, [text(0, "b!")]
        engine.resubmit_batch(batch_id)
        assert engine.wait_batch(batch_id).outcomes == {"ok": 2}
    assert provider.bodies == [bodies[1]]


@pytest.mark.parametrize(("limit", "last"), [(2, "/v1/files/file-in"), (4, "/v1/batches/batch_0")])
def test_each_request_counts_for_the_limit_of_the_config(limit: int, last: str) -> None:
    async def work(server: FaultServer) -> None:
        async with made(server.url, requests_per_minute=limit) as engine:
            task = asyncio.ensure_future(send_and_fetch(engine))
            while len(server.requests) < limit:  # noqa: ASYNC110 - the server knows no loop
                await asyncio.sleep(0.01)
            # The next one has to wait for a minute.
            done, _ = await asyncio.wait([task], timeout=0.5)
            assert not done
            task.cancel()

    async def send_and_fetch(engine: InferenceEngine) -> None:
        batch_id = await engine.ainfer_batch(asking("a"))
        await engine.aget_batch_results_partial(batch_id)

    provider = Provider(output=[text(0, "a!")])
    with FaultServer(then=provider) as server:
        asyncio.run(work(server))
    assert len(server.requests) == limit
    assert server.requests[-1].path == last


def test_the_rest_of_a_file_is_answered_online_by_its_own_parameters(tmp_path: Path) -> None:
    body = asking_body("a", temperature=1, max_tokens=9, response_format=BOOK_FORMAT, own=1)
    answer: Any = completion('{"title": "Emma"}')
    provider = Provider(end={"status": "expired"})
    with FaultServer(then=provider) as server, made(server.url) as engine:
        batch_id = engine.infer_batch(read_openai_batch(given_file(tmp_path, body)))
        assert engine.wait_batch(batch_id).outcomes == {"expired": 1}
        provider.faults[("POST", "/v1/chat/completions")] = answer
        engine.resubmit_batch(batch_id, via="online")
        (result,) = engine.get_batch_results_partial(batch_id).results
        (sent,) = (one.json for one in server.requests if one.path == "/v1/chat/completions")
    assert result.parsed == {"title": "Emma"}
    limit = body.pop("max_tokens")
    assert sent == {**body, "max_completion_tokens": limit}

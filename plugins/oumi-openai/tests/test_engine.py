"""What the engine sends, and what it makes of the answers, over a real socket."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.errors import ConfigError, EngineError
from oumi_core.guided.constraint import Choice, Grammar, JsonSchema, Regex
from oumi_core.testing import FaultServer, close_early, completion, error, models, raw
from oumi_core.types.completion import Chunk, Completion
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from conftest import Asks, Started
    from oumi_core.engine import Request
    from oumi_core.guided.constraint import Constraint
    from oumi_core.testing import Received

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
}


@pytest.fixture
def sent(started: Started) -> Any:
    """Sends one request to a server that answers well; gives it as it arrived."""

    def send(request: Request, **engine: Any) -> Received:
        async def main() -> None:
            async with started(server.url, **engine) as one:
                await one.complete(request)

        with FaultServer() as server:
            asyncio.run(main())
        (received,) = server.requests
        return received

    return send


@pytest.fixture
def answered(started: Started, asks: Asks) -> Any:
    """Asks with a constraint a server that answers with a text; gives the completion."""

    def ask(constraint: Constraint, text: str, **fields: Any) -> Completion:
        async def main() -> Completion:
            async with started(server.url) as engine:
                await engine.check_constraint(constraint)
                return await engine.complete(asks(constraint=constraint, **fields))

        with FaultServer([completion(text)]) as server:
            return asyncio.run(main())

    return ask


def test_a_plain_request(sent: Any, asks: Asks) -> None:
    received = sent(asks("hello", max_new_tokens=7, temperature=0.5), user_id="user-7")
    assert received.target == "/v1/chat/completions"
    assert received.headers["authorization"] == "Bearer sk-test"
    assert "openai-organization" not in received.headers
    assert received.json == {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 7,
        "temperature": 0.5,
        "user": "user-7",
    }


def test_organisation_and_project(sent: Any, asks: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-env")
    received = sent(asks(), engine_args={"organization": "org-1"})
    assert received.headers["openai-organization"] == "org-1"
    assert received.headers["openai-project"] == "proj-env"
    received = sent(asks(), engine_args={"organization": "org-1", "project": "proj-1"})
    assert received.headers["openai-project"] == "proj-1"


def test_a_missing_key_names_its_variable(started: Started) -> None:
    async def main() -> None:
        async with started(None, api_key=None):
            pass

    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        asyncio.run(main())


def test_the_key_of_the_environment(sent: Any, asks: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    assert sent(asks(), api_key=None).headers["authorization"] == "Bearer sk-env"


@pytest.mark.parametrize(
    ("model", "engine_args"),
    [
        ("o1", {}),
        ("o3-mini", {}),
        ("o4-mini-2025-04-16", {}),
        ("gpt-5-nano", {}),
        ("openai/o3", {}),
        ("ft:o4-mini:acme::1", {}),
        ("my-alias", {"base_model": "o3"}),
    ],
)
def test_a_reasoning_model_is_not_sent_what_it_does_not_take(
    sent: Any, asks: Asks, model: str, engine_args: dict[str, Any]
) -> None:
    request = asks(
        model=model,
        temperature=0.7,
        top_p=0.9,
        logit_bias={1: 2.0},
        reasoning_effort="low",
        max_new_tokens=9,
        seed=1,
    )
    with pytest.warns(UserWarning, match=r"logit_bias, generation.temperature, generation.top_p"):
        received = sent(request, engine_args=engine_args)
    assert received.json == {
        "model": model,
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 9,
        "reasoning_effort": "low",
        "seed": 1,
    }


def test_defaults_are_left_out_without_a_word(sent: Any, asks: Asks) -> None:
    assert "temperature" not in sent(asks(model="o3")).json


def test_the_one_temperature_of_a_reasoning_model_is_sent(sent: Any, asks: Asks) -> None:
    assert sent(asks(model="o3", temperature=1.0)).json["temperature"] == 1.0


def test_extra_body_is_sent_all_the_same(sent: Any, asks: Asks) -> None:
    received = sent(asks(model="gpt-5.1", extra_body={"temperature": 0.3}))
    assert received.json["temperature"] == 0.3


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-chat-latest", "omni"])
def test_other_models_are_sent_everything(sent: Any, asks: Asks, model: str) -> None:
    body = sent(asks(model=model, temperature=0.7, stop_strings=["x"])).json
    assert (body["temperature"], body["stop"]) == (0.7, ["x"])


def test_a_schema_is_sent_strict_and_its_answer_comes_back_as_asked_for(
    sent: Any, answered: Any, asks: Asks
) -> None:
    constraint = JsonSchema(PERSON, "Person")
    body = sent(asks(constraint=constraint)).json
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "Person",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "age": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                },
                "required": ["name", "age"],
                "additionalProperties": False,
            },
        },
    }
    assert answered(constraint, '{"name": "Ada", "age": null}').text == '{"name":"Ada"}'


def test_a_choice_is_an_enum_and_comes_back_bare(sent: Any, answered: Any, asks: Asks) -> None:
    constraint = Choice(("yes", "no"))
    schema = sent(asks(constraint=constraint)).json["response_format"]["json_schema"]
    assert schema["schema"]["properties"] == {"value": {"type": "string", "enum": ["yes", "no"]}}
    assert answered(constraint, '{"value": "no"}').text == "no"


def test_a_regex_is_a_pattern_and_comes_back_bare(sent: Any, answered: Any, asks: Asks) -> None:
    constraint = Regex(r"\d{3}")
    schema = sent(asks(constraint=constraint)).json["response_format"]["json_schema"]
    assert schema["schema"]["properties"]["value"]["pattern"] == "^[0-9]{3}$"
    assert answered(constraint, '{"value": "123"}').text == "123"


@pytest.mark.parametrize(
    "text",
    ['{"value": "ye', "yes", '{"value": 1}', "[]", '{"other": "yes"}', "[" * 9999],
    ids=lambda text: text[:20],
)
def test_an_answer_in_no_known_form_is_left_for_the_check(answered: Any, text: str) -> None:
    assert answered(Choice(("yes", "no")), text).text == text


def test_all_choices_of_an_answer_come_back_as_asked_for(started: Started, asks: Asks) -> None:
    def two(request: Received) -> Any:
        texts = ['{"value": "yes"}', '{"value": "no"}']
        choices = [
            {
                "index": at,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
            for at, text in enumerate(texts)
        ]
        return raw(json.dumps({"choices": choices}))

    async def main() -> Completion:
        async with started(server.url) as engine:
            request = asks(constraint=Choice(("yes", "no")), extra_body={"n": 2})
            return await engine.complete(request)

    with FaultServer([two]) as server:
        answer = asyncio.run(main())
    assert [answer.text, *(one.text for one in answer.alternatives)] == ["yes", "no"]


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        (Grammar('root ::= "a"'), "guided_decoding.grammar: OpenAI takes no grammar"),
        (Regex("(?i)a"), "guided_decoding.regex: .* flags"),
        (Choice(tuple(map(str, range(1001)))), "guided_decoding.choice: .* OpenAI takes 1,000"),
        (JsonSchema({"type": "array"}), "guided_decoding.json: .*'items' at /"),
    ],
)
def test_what_openai_cannot_hold_is_refused_and_nothing_is_sent(
    started: Started, asks: Asks, constraint: Constraint, reason: str
) -> None:
    async def main() -> None:
        async with started(server.url) as engine:
            with pytest.raises(ConfigError, match=reason):
                await engine.check_constraint(constraint)
            with pytest.raises(EngineError, match="bad_request"):
                await engine.complete(asks(constraint=constraint))

    with FaultServer() as server:
        asyncio.run(main())
    assert server.requests == ()


def streamed(started: Started, request: Request, text: str) -> list[Chunk | Completion]:
    async def main() -> list[Chunk | Completion]:
        async with started(server.url) as engine:
            return [piece async for piece in engine.stream(request)]

    with FaultServer([completion(text)]) as server:
        return asyncio.run(main())


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (None, "one two three"),
        (JsonSchema({**PERSON, "required": ["name", "age"]}), '{"name": "Ada", "age": 36}'),
    ],
)
def test_a_stream(started: Started, asks: Asks, constraint: Constraint | None, text: str) -> None:
    *pieces, last = streamed(started, asks(constraint=constraint), text)
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces) == text
    assert isinstance(last, Completion)
    assert last.text == text


def test_a_stream_that_needs_a_way_back_comes_in_one_piece(started: Started, asks: Asks) -> None:
    request = asks(constraint=Choice(("yes", "no")))
    piece, last = streamed(started, request, '{"value": "no"}')
    assert piece == Chunk("no")
    assert isinstance(last, Completion)
    assert last.text == "no"


def test_the_url_from_the_environment(
    started: Started, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with started(None) as engine:
            await engine.complete(asks())
        async with started(other.url) as engine:  # the config's own URL wins
            await engine.complete(asks())

    with FaultServer() as server, FaultServer() as other:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/gateway/v1")
        asyncio.run(main())
    assert [one.path for one in server.requests] == ["/gateway/v1/chat/completions"]
    assert [one.path for one in other.requests] == ["/v1/chat/completions"]


def test_azure(sent: Any, asks: Asks) -> None:
    received = sent(asks(), engine_args={"azure": {"api_version": "2024-10-21"}})
    assert received.target == (
        "/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21"
    )
    assert received.headers["api-key"] == "sk-test"
    assert "authorization" not in received.headers


def test_azure_from_the_environment(
    started: Started, asks: Asks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        azure = {"azure": {"deployment": "mine"}}
        async with started(None, api_key=None, engine_args=azure) as engine:
            await engine.complete(asks())

    with FaultServer() as server:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", f"{server.url}/")
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "az-env")
        monkeypatch.setenv("OPENAI_API_VERSION", "2025-01-01")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
        asyncio.run(main())
    (received,) = server.requests
    assert received.target == "/openai/deployments/mine/chat/completions?api-version=2025-01-01"
    assert received.headers["api-key"] == "az-env"
    assert "sk-env" not in str(dict(received.headers))


def test_the_url_of_a_deployment_is_azure(started: Started, asks: Asks) -> None:
    async def main() -> None:
        url = f"{server.url}/openai/deployments/mine/chat/completions?api-version=2024-10-21"
        async with started(url) as engine:
            await engine.complete(asks())

    with FaultServer() as server:
        asyncio.run(main())
    (received,) = server.requests
    assert received.target == "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    assert received.headers["api-key"] == "sk-test"


@pytest.mark.parametrize(
    ("engine_args", "reason"),
    [
        ({"azure": {}}, "engine_args.azure.api_version: missing"),
        ({"azure": {"version": "1", "api_version": "1"}}, "engine_args.azure.version: unknown"),
        ({"azure": True}, "engine_args.azure: must be a table"),
        ({"organization": ""}, "engine_args.organization: must be a text"),
        ({"project": 3}, "engine_args.project: must be a text"),
        ({"organisation": "x"}, "engine_args.organisation: unknown"),
    ],
)
def test_arguments_that_cannot_be(
    started: Started, engine_args: dict[str, Any], reason: str
) -> None:
    async def main() -> None:
        async with started("http://localhost:1", engine_args=engine_args):
            pass

    with pytest.raises(ConfigError, match=reason):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "insufficient_quota", FailureKind.QUOTA),
        (401, "invalid_api_key", FailureKind.AUTH),
        (404, "model_not_found", FailureKind.NOT_FOUND),
    ],
)
def test_a_refused_call_is_made_once_and_means_the_same_through_the_sdk(
    started: Started, asks: Asks, status: int, code: str, kind: FailureKind
) -> None:
    async def main() -> list[EngineError]:
        async with started(server.url) as engine:
            with pytest.raises(EngineError) as chat:
                await engine.complete(asks())
            with pytest.raises(EngineError) as listing:
                await engine.list_models()
        return [chat.value, listing.value]

    with FaultServer(then=error(status, code=code)) as server:
        caught = asyncio.run(main())
    assert len(server.requests) == len(caught)
    for one in caught:
        assert (one.failure.kind, one.failure.code) == (kind, code)
        assert "sk-test" not in str(one)


def listed(started: Started, url: str, **engine: Any) -> list[str]:
    async def main() -> list[str]:
        async with started(url, **engine) as one:
            return await one.list_models()

    return asyncio.run(main())


def test_the_list_of_models(started: Started) -> None:
    with FaultServer([models("gpt-b", "gpt-a")]) as server:
        names = listed(started, server.url, engine_args={"organization": "org-1"})
    assert names == ["gpt-a", "gpt-b"]
    (received,) = server.requests
    assert (received.method, received.target) == ("GET", "/v1/models")
    assert received.headers["authorization"] == "Bearer sk-test"
    assert received.headers["openai-organization"] == "org-1"


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_list_of_models_on_azure(started: Started, scheme: str) -> None:
    with FaultServer([models("a")]) as server:
        azure = {"azure": {"api_version": "2024-10-21"}}
        url = scheme + server.url.removeprefix("http://")
        assert listed(started, url, engine_args=azure) == ["a"]
    (received,) = server.requests
    assert received.target == "/openai/models?api-version=2024-10-21"
    assert received.headers["api-key"] == "sk-test"


def test_a_list_of_models_that_does_not_come(started: Started) -> None:
    with FaultServer([close_early()]) as server, pytest.raises(EngineError, match="transient"):
        listed(started, server.url)


def test_the_sdk_is_imported_only_where_it_is_used() -> None:
    code = (
        "import sys, oumi_openai.hooks\n"
        "assert not {'aiohttp', 'openai', 'oumi_openai.engine'} & set(sys.modules)\n"
        "import oumi_openai.engine\n"
        "assert not {'openai', 'httpx2', 'jsonschema', 'pydantic'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

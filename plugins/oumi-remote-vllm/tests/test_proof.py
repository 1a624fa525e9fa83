"""A server proves that it holds a constraint, or no row is sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core import get_engine
from oumi_core.errors import ConfigError, EngineError, InferenceFailed
from oumi_core.testing import FaultServer, completion, error, too_many
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from oumi_core.testing import Received, Reply
    from oumi_core.testing.replies import Entry

    from tests.conftest import ScriptedVLLM

ROWS = [Conversation([Message(Role.USER, text)]) for text in ("first row", "second row")]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
}
KINDS: list[dict[str, Any]] = [
    {"json": {**SCHEMA, "allOf": [{}, {}]}},  # for another backend: it goes as it is
    {"regex": "[0-9]{3}-[0-9]{4}"},
    {"choice": ["yes", "no"]},
    {"grammar": 'root ::= "yes" | "no"'},
]


def answered(server: FaultServer, **fields: Any) -> list[str]:
    with get_engine("remote-vllm", model="tiny", api_url=server.url, **fields) as engine:
        return [str(one.messages[-1].content) for one in engine.infer(ROWS)]


def rows_sent(server: FaultServer) -> list[str]:
    texts = [request.last_text for request in server.requests]
    return [text for text in texts if "row" in text]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: next(iter(kind)))
def test_a_server_that_holds_the_constraint_answers_the_rows(
    vllm: type[ScriptedVLLM], kind: dict[str, Any]
) -> None:
    with FaultServer(then=vllm()) as server:
        answered(server, **kind)
    models, canary, taken, *rows = server.requests
    assert models.path == "/v1/models"
    asked = json.dumps(canary.json["structured_outputs"])
    assert canary.last_text not in asked
    assert taken.json["structured_outputs"] == kind
    assert taken.json["max_completion_tokens"] == 1
    assert [row.json["structured_outputs"] for row in rows] == [kind, kind]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: next(iter(kind)))
@pytest.mark.parametrize("says", ["Paris.", "", "{}", '"first row"'])
def test_a_server_that_ignores_constraints_gets_no_row(
    vllm: type[ScriptedVLLM], kind: dict[str, Any], says: str
) -> None:
    with (
        FaultServer(then=vllm(holds=False, text=says)) as server,
        pytest.raises(ConfigError, match="does not hold") as caught,
    ):
        answered(server, **kind)
    assert rows_sent(server) == []
    assert f"generation.guided_decoding.{next(iter(kind))}: " in str(caught.value)
    assert "backend: reask" in str(caught.value)


def test_a_server_that_echoes_all_it_gets_is_found_out() -> None:
    def echo(request: Received) -> Entry:
        return completion(request.body.decode())

    with FaultServer(then=echo) as server, pytest.raises(ConfigError, match="does not hold"):
        answered(server, choice=["yes", "no"], engine_args={"check_server": False})


def test_a_server_that_does_not_know_the_field_gets_no_row(vllm: type[ScriptedVLLM]) -> None:
    with (
        FaultServer(then=vllm(refuses="enum")) as server,
        pytest.raises(ConfigError, match=r"guided_decoding\.json: http.*Invalid grammar"),
    ):
        answered(server, json=SCHEMA)
    assert rows_sent(server) == []


@pytest.mark.parametrize("status", [400, 422, 500])
def test_a_constraint_that_the_server_does_not_take_is_refused_in_its_words(
    vllm: type[ScriptedVLLM], status: int
) -> None:
    def serve(request: Received) -> Entry:
        constraint = request.field("structured_outputs")
        if constraint == {"regex": "(?=a)b"}:
            return error(status, "look-around is not supported")
        return good(request)

    good = vllm()
    with (
        FaultServer(then=serve) as server,
        pytest.raises(ConfigError, match="does not take this regex: look-around") as caught,
    ):
        answered(server, regex="(?=a)b")
    assert str(caught.value).startswith("generation.guided_decoding.regex: ")
    assert rows_sent(server) == []


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (too_many(3), FailureKind.RATE_LIMIT),
        (error(503, "loading"), FailureKind.TRANSIENT),
        (error(401, "who are you"), FailureKind.AUTH),
    ],
)
def test_a_server_that_gives_no_proof_now_is_no_fault_of_the_constraint(
    vllm: type[ScriptedVLLM], reply: Reply, kind: FailureKind
) -> None:
    good = vllm()
    with (
        FaultServer(then=lambda one: reply if one.method == "POST" else good(one)) as server,
        pytest.raises(EngineError) as caught,
    ):
        answered(server, choice=["yes", "no"])
    assert caught.value.failure.kind is kind
    assert rows_sent(server) == []


@pytest.mark.parametrize(
    ("length", "tokens"), [(3000, 1500), (20_000, 4096), (0, 4096), (-1, 4096)]
)
def test_a_model_that_reasons_first_gets_the_tokens_for_it(
    vllm: type[ScriptedVLLM], length: int, tokens: int
) -> None:
    good = vllm(tokens=length)

    def reason(request: Received) -> Entry:
        given = request.field("max_completion_tokens")
        if given is not None and 1 < given < 1000:
            thought = {"reasoning": "Well, let me see"}
            return completion("", finish_reason="length", message=thought)
        return good(request)

    with FaultServer(then=reason) as server:
        assert answered(server, choice=["yes", "no"]) == ["yes", "yes"]
    budgets = [request.field("max_completion_tokens") for request in server.requests]
    assert budgets == [None, 32, tokens, 1, 1024, 1024]


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_a_server_that_takes_all_answers_for_reasoning_gets_no_row(
    vllm: type[ScriptedVLLM], finish_reason: str
) -> None:
    # Seen with a --reasoning-parser and a model that does not reason.
    good = vllm()
    thought = {"reasoning": "Hello! How can I help you?"}
    answer = completion("", finish_reason=finish_reason, message=thought)
    with (
        FaultServer(then=lambda one: answer if one.method == "POST" else good) as server,
        pytest.raises(ConfigError, match="does the server's --reasoning-parser fit the model"),
    ):
        answered(server, choice=["yes", "no"])
    assert rows_sent(server) == []


def test_the_proof_is_asked_for_once_for_each_constraint(vllm: type[ScriptedVLLM]) -> None:
    with (
        FaultServer(then=vllm()) as server,
        get_engine("remote-vllm", model="tiny", api_url=server.url) as engine,
    ):
        for options in (["yes", "no"], ["yes", "no"], ["maybe"]):
            config = get_engine("remote-vllm", choice=options).config
            engine.infer(ROWS[:1], config)
        asked = [request.field("structured_outputs") for request in server.requests[1:]]
    yes_no, maybe = {"choice": ["yes", "no"]}, {"choice": ["maybe"]}
    assert asked[1:] == [yes_no, yes_no, yes_no, maybe, maybe]
    assert asked[0] not in (yes_no, maybe)


def test_words_are_other_ones_each_time(vllm: type[ScriptedVLLM]) -> None:
    with FaultServer(then=vllm()) as server:
        answered(server, choice=["yes"])
        answered(server, choice=["yes"])
    words = {
        request.json["structured_outputs"]["choice"][0]
        for request in server.requests
        if request.path.endswith("completions")
    }
    assert len(words - {"yes"}) == 2


@pytest.mark.parametrize("holds", [True, False])
def test_a_structural_tag_is_proven_at_the_start(vllm: type[ScriptedVLLM], *, holds: bool) -> None:
    tag = {"type": "structural_tag", "format": {"type": "const_string", "value": "aye"}}
    arguments = {"structural_tag": tag}
    with FaultServer(then=vllm(holds=holds)) as server:
        if holds:
            assert answered(server, engine_args=arguments) == ["aye", "aye"]
        else:
            with pytest.raises(ConfigError, match=r"engine_args\.structural_tag: .*does not hold"):
                answered(server, engine_args=arguments)
            assert rows_sent(server) == []


def test_a_bound_on_white_space_is_proven_as_it_is_sent(vllm: type[ScriptedVLLM]) -> None:
    with FaultServer(then=vllm()) as server:
        answered(server, json=SCHEMA)
    fields = [request.json["structured_outputs"] for request in server.requests[1:]]
    assert len(fields) == 4
    assert all('"max_whitespace_cnt":1' in one["structural_tag"] for one in fields)


def test_a_server_that_knows_no_bound_is_asked_without(vllm: type[ScriptedVLLM]) -> None:
    with FaultServer(then=vllm(refuses="max_whitespace_cnt")) as server:
        answered(server, json=SCHEMA)
    fields = [request.json["structured_outputs"] for request in server.requests[2:]]
    assert [list(one) for one in fields] == [["json"]] * 4
    assert fields[1:] == [{"json": SCHEMA}] * 3


def test_a_bound_that_was_asked_for_is_held_or_refused(vllm: type[ScriptedVLLM]) -> None:
    with (
        FaultServer(then=vllm(refuses="max_whitespace_cnt")) as server,
        pytest.raises(ConfigError, match=r"guided_decoding\.json: .*Invalid grammar"),
    ):
        answered(server, json=SCHEMA, engine_args={"max_json_blanks": 2})
    assert rows_sent(server) == []


@pytest.mark.parametrize("schema", [{"type": "string", "not": {"const": "a"}}, "false"])
def test_a_schema_that_vllm_would_not_hold_is_refused_before_anything_is_sent(
    vllm: type[ScriptedVLLM], schema: Any
) -> None:
    with (
        FaultServer(then=vllm()) as server,
        pytest.raises(ConfigError, match=r"generation\.guided_decoding\.json: "),
    ):
        answered(server, json=schema)
    assert [request.path for request in server.requests] == ["/v1/models"]


def test_a_server_whose_quirk_says_so_is_not_even_asked(vllm: type[ScriptedVLLM]) -> None:
    with FaultServer(then=vllm()) as server, pytest.raises(ConfigError, match="json_schema"):
        answered(server, json=SCHEMA, engine_args={"quirks": {"json_schema": False}})
    assert [request.path for request in server.requests] == ["/v1/models"]


def test_reask_needs_no_proof(vllm: type[ScriptedVLLM]) -> None:
    with (
        FaultServer(then=vllm(holds=False, text="yes")) as server,
        get_engine(
            "remote-vllm", model="tiny", api_url=server.url, choice=["yes"], backend="reask"
        ) as engine,
    ):
        engine.infer(ROWS)
    assert len(rows_sent(server)) == 2
    assert not any("structured_outputs" in (request.json or {}) for request in server.requests)


def test_a_server_that_stops_holding_the_constraint_fails_its_rows(
    vllm: type[ScriptedVLLM],
) -> None:
    good, lax = vllm(), vllm(holds=False)

    def serve(request: Received) -> Entry:
        return lax if request.last_text == "second row" else good

    with FaultServer(then=serve) as server, pytest.raises(InferenceFailed) as caught:
        answered(server, choice=["yes", "no"])
    first, second = caught.value.results
    assert first.ok
    assert second.error is not None
    assert second.error.kind is FailureKind.INVALID_OUTPUT

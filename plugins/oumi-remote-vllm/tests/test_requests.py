"""What goes over the wire."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.configs import ModelParams, RemoteParams
from oumi_core.engine import EngineConfig
from oumi_core.errors import ConfigError, EngineError
from oumi_core.guided.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from oumi_core.testing import FaultServer, completion
from oumi_core.types.failure import FailureKind

from oumi_remote_vllm.engine import RemoteVLLMEngine

if TYPE_CHECKING:
    from oumi_core.engine import Request
    from oumi_core.types.completion import Completion

    from tests.conftest import Asks, ScriptedVLLM, Started

SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}}

FOR_ANOTHER_BACKEND = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}


def json_tag(schema: dict[str, Any], max_blanks: int) -> str:
    """A schema whose white space is bounded, as xgrammar's structural tags have it."""
    content = {"type": "json_schema", "json_schema": schema, "max_whitespace_cnt": max_blanks}
    return json.dumps({"type": "structural_tag", "format": content}, separators=(",", ":"))


def sent(started: Started, vllm: type[ScriptedVLLM], request: Request, **settings: Any) -> Any:
    """The body that a request makes."""

    async def main() -> Completion:
        async with started(server.url, **settings) as engine:
            return await engine.complete(request)

    with FaultServer(then=vllm()) as server:
        asyncio.run(main())
    return server.requests[-1].json


def test_its_own_parameters_are_sent_where_they_are_set(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    plain = sent(started, vllm, asks())
    assert plain == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 1024,
        "temperature": 0.0,
    }
    given = {
        "min_p": 0.1,
        "top_k": 5,
        "repetition_penalty": 1.2,
        "stop_token_ids": [3, 4],
        "skip_special_tokens": False,
    }
    assert sent(started, vllm, asks(**given)) == {**plain, **given}


def test_variables_of_the_chat_template_are_sent(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    thinking = {"enable_thinking": False}
    model = ModelParams(model_name="tiny", chat_template_kwargs=thinking)
    assert sent(started, vllm, asks(model=model))["chat_template_kwargs"] == thinking


def test_a_priority_is_sent_with_each_request_that_has_none(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    given = {"engine_args": {"priority": -3}}
    assert sent(started, vllm, asks(), **given)["priority"] == -3
    own = asks(extra_body={"priority": 7})
    assert sent(started, vllm, own, **given)["priority"] == 7


@pytest.mark.parametrize(
    ("constraint", "written"),
    [
        (JsonSchema(SCHEMA), {"structural_tag": json_tag(SCHEMA, 1)}),
        (JsonSchema(True), {"structural_tag": json_tag({}, 1)}),
        (JsonSchema(FOR_ANOTHER_BACKEND), {"json": FOR_ANOTHER_BACKEND}),
        (Regex("[0-9]{3}"), {"regex": "[0-9]{3}"}),
        (Choice(("yes", "no")), {"choice": ["yes", "no"]}),
        (Grammar('root ::= "a"'), {"grammar": 'root ::= "a"'}),
    ],
)
def test_a_constraint_goes_into_structured_outputs(
    started: Started,
    vllm: type[ScriptedVLLM],
    asks: Asks,
    constraint: Constraint,
    written: dict[str, Any],
) -> None:
    body = sent(started, vllm, asks(constraint=constraint))
    assert body["structured_outputs"] == written
    assert "response_format" not in body
    assert not any(name.startswith("guided_") for name in body)


def test_a_schema_that_nothing_fits_is_refused(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    with pytest.raises(EngineError, match="nothing fits"):
        sent(started, vllm, asks(constraint=JsonSchema(False)))


def test_the_bound_on_white_space_in_json_can_be_another(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    given = {"engine_args": {"max_json_blanks": 9}}
    body = sent(started, vllm, asks(constraint=JsonSchema(SCHEMA)), **given)
    assert body["structured_outputs"] == {"structural_tag": json_tag(SCHEMA, 9)}


@pytest.mark.parametrize(
    "tag", [{"format": {"type": "any_text"}}, '{"format":{"type":"any_text"}}']
)
def test_a_structural_tag_goes_with_all_requests_without_a_constraint(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks, tag: Any
) -> None:
    arguments = {"structural_tag": tag}
    body = sent(started, vllm, asks(), engine_args=arguments)
    assert body["structured_outputs"] == {"structural_tag": '{"format":{"type":"any_text"}}'}
    body = sent(started, vllm, asks(constraint=Choice(("a",))), engine_args=arguments)
    assert body["structured_outputs"] == {"choice": ["a"]}


def test_fields_that_vllm_forgot_are_not_sent(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    with pytest.raises(EngineError, match=r"guided_json: vLLM ignores it since 0\.12") as caught:
        sent(started, vllm, asks(extra_body={"guided_json": SCHEMA}))
    assert caught.value.failure.kind is FailureKind.BAD_REQUEST


def test_the_body_that_the_user_gives_wins(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    assert sent(started, vllm, asks(extra_body={"model": "pirate"}))["model"] == "pirate"


@pytest.mark.parametrize("streamed", [False, True])
def test_json_that_was_cut_inside_white_space_says_how_to_bound_it(
    started: Started, asks: Asks, *, streamed: bool
) -> None:
    blank = completion('{"answer":' + " " * 40, finish_reason="length")

    async def main(request: Request) -> Any:
        async with started(server.url, engine_args={"check_server": False}) as engine:
            if streamed:
                return [piece async for piece in engine.stream(request)]
            return await engine.complete(request)

    with FaultServer(then=blank) as server:
        with pytest.raises(EngineError, match="max_json_blanks") as caught:
            asyncio.run(main(asks(constraint=JsonSchema(SCHEMA))))
        assert caught.value.failure.kind is FailureKind.TRUNCATED
        asyncio.run(main(asks()))  # free text may end in white space


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"check_server": 1}, "engine_args.check_server: must be true or false"),
        ({"priority": 1.5}, "engine_args.priority: must be a whole number"),
        ({"max_json_blanks": 0}, "engine_args.max_json_blanks: must be a whole number, at least"),
        ({"structural_tag": "{"}, "engine_args.structural_tag: is not JSON"),
        ({"structural_tag": [1]}, "engine_args.structural_tag: must be a table"),
        ({"prioritty": 1}, "engine_args.prioritty: unknown; did you mean priority?"),
    ],
)
def test_a_fault_of_an_argument_is_told(arguments: dict[str, Any], fault: str) -> None:
    remote = RemoteParams(api_url="localhost")
    with pytest.raises(ConfigError) as caught:
        RemoteVLLMEngine(EngineConfig(ModelParams(model_name="m"), remote, arguments))
    assert str(caught.value).startswith(fault)


def test_the_address_must_be_given() -> None:
    with pytest.raises(ConfigError, match=r"remote_params\.api_url: missing"):
        RemoteVLLMEngine(EngineConfig(ModelParams(model_name="m")))

"""Demanded tool calls are held by a schema; which, depends on what is demanded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import WEATHER, request
from jsonschema import Draft202012Validator
from oumi_core.configs import ModelParams
from oumi_core.errors import EngineError
from oumi_core.guided.constraint import Choice
from oumi_core.types import FailureKind, ToolDefinition

from oumi_vllm.tools import ToolUse, tool_use

TIME = ToolDefinition.from_dict({"type": "function", "function": {"name": "get_time"}})
BY_NAME = {"type": "function", "function": {"name": "get_weather"}}
CALL = {"name": "get_weather", "parameters": {"city": "Paris"}}


def refused(**asked: Any) -> str:
    with pytest.raises(EngineError) as caught:
        tool_use(request(**asked))
    assert caught.value.failure.kind is FailureKind.BAD_REQUEST
    return caught.value.failure.message


def fits(use: ToolUse, answer: Any) -> bool:
    assert use.constraint is not None
    return Draft202012Validator(use.constraint.schema).is_valid(answer)


def test_a_row_without_tools_uses_none() -> None:
    assert tool_use(request()) == ToolUse()
    assert tool_use(request(tool_choice="none", tools=[WEATHER])) == ToolUse()


def test_auto_leaves_the_text_to_the_parser_of_the_model() -> None:
    model = ModelParams("m", tool_call_parser="hermes")

    use = tool_use(request(model=model, tools=[WEATHER]))

    assert (use.parser, use.constraint) == ("hermes", None)
    assert use.tools == [WEATHER.to_dict()]


def test_required_takes_calls_of_these_functions_only() -> None:
    use = tool_use(request(tools=[WEATHER, TIME], tool_choice="required"))

    assert fits(use, [CALL])
    assert fits(use, [CALL, {"name": "get_time", "parameters": {}}])
    assert not fits(use, [])
    assert not fits(use, [{"name": "get_time", "parameters": {}, "more": 1}])
    assert not fits(use, [{**CALL, "name": "other"}])
    assert not fits(use, [{**CALL, "parameters": {"town": "Paris"}}])


def test_required_without_parallel_calls_takes_one() -> None:
    use = tool_use(request(tools=[WEATHER], tool_choice="required", parallel_tool_calls=False))

    assert fits(use, [CALL])
    assert not fits(use, [CALL, CALL])


def test_a_function_by_name_takes_its_arguments() -> None:
    use = tool_use(request(tools=[WEATHER, TIME], tool_choice=BY_NAME))

    assert fits(use, {"city": "Rome"})
    assert not fits(use, {})
    (call,) = use.calls_in('{"city": "Rome"}')
    assert (call.function.name, call.get_arguments_dict()) == ("get_weather", {"city": "Rome"})


def test_definitions_of_parameters_are_found_from_the_root() -> None:
    parameters = {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}},
        "$defs": {"Place": {"type": "string", "enum": ["here"]}},
    }
    tool = ToolDefinition.from_dict(
        {"type": "function", "function": {"name": "go", "parameters": parameters}}
    )

    use = tool_use(request(tools=[tool], tool_choice="required"))

    assert fits(use, [{"name": "go", "parameters": {"place": "here"}}])
    assert not fits(use, [{"name": "go", "parameters": {"place": "there"}}])
    assert parameters["$defs"]  # the user's own is not changed


def test_calls_are_read_in_order() -> None:
    use = tool_use(request(tools=[WEATHER, TIME], tool_choice="required"))

    calls = use.calls_in(json.dumps([CALL, {"name": "get_time", "parameters": {}}]))

    assert [(call.id, call.function.name) for call in calls] == [
        ("call_0", "get_weather"),
        ("call_1", "get_time"),
    ]


def test_a_call_that_is_cut_is_a_failure() -> None:
    use = tool_use(request(tools=[WEATHER], tool_choice=BY_NAME))

    with pytest.raises(EngineError) as caught:
        use.calls_in('{"city": "Ro')

    assert caught.value.failure.kind is FailureKind.TRUNCATED


def test_what_cannot_be_demanded_is_refused() -> None:
    assert "the row has no tools" in refused(tool_choice="required")
    assert "has no tool 'get_weather'; it has: get_time" in refused(
        tools=[TIME], tool_choice=BY_NAME
    )
    assert "give one of them" in refused(
        tools=[TIME], tool_choice="required", constraint=Choice(("a", "b"))
    )

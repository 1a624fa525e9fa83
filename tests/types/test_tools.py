from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest

from oumi_core.errors import DataError
from oumi_core.types import Conversation, FunctionCall, ToolCall, ToolDefinition
from oumi_core.types.tool_from_function import tool_from_function


def test_a_call_keeps_its_type_and_what_it_does_not_know() -> None:
    data = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a": 1}', "inner": 1},
        "index": 0,
    }
    call = ToolCall.from_dict(data)
    assert call.to_dict() == data
    assert call.get_arguments_dict() == {"a": 1}
    made_here = ToolCall(id="c1", function=FunctionCall("f"))
    assert made_here.to_dict()["type"] == "function"


@pytest.mark.parametrize(
    ("given", "text"),
    [(None, ""), ("not json", "not json"), ({"a": [1]}, '{"a":[1]}'), ([1], "[1]")],
)
def test_arguments_become_json_text(given: Any, text: str) -> None:
    call = ToolCall.from_dict({"function": {"name": "f", "arguments": given}})
    assert call.function.arguments == text


def test_no_arguments_are_an_empty_object() -> None:
    assert ToolCall("c1", FunctionCall("f")).get_arguments_dict() == {}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("{", "arguments of tool call 'c1' (f): not JSON"),
        ("[1]", "arguments of tool call 'c1' (f): expected an object, got list"),
        ("[" * 100_000, "arguments of tool call 'c1' (f): not readable: "),
    ],
    ids=["broken", "list", "bomb"],
)
def test_malformed_arguments_are_kept_and_reported_when_asked_for(
    arguments: str, fault: str
) -> None:
    call = ToolCall("c1", FunctionCall("f", arguments))
    assert call.to_dict()["function"]["arguments"] == arguments
    with pytest.raises(DataError) as caught:
        call.get_arguments_dict()
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("f", "expected an object with a function, got str"),
        ({}, "function: expected an object with a name"),
        ({"function": {"name": 3}}, "function: expected an object with a name"),
        ({"function": {"name": "f", "arguments": 3}}, "arguments: expected JSON as a text"),
        ({"id": 3, "function": {"name": "f"}}, "id: expected a text, got int"),
        ({"type": 3, "function": {"name": "f"}}, "type: expected a text, got int"),
    ],
)
def test_a_faulty_call_is_reported_by_field(data: Any, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        ToolCall.from_dict(data)
    assert str(caught.value).startswith(fault)


def test_a_definition_keeps_what_it_does_not_know() -> None:
    data = {
        "type": "function",
        "function": {
            "name": "f",
            "description": "does",
            "parameters": {"type": "object", "x-mine": [1]},
            "strict": True,
            "inner": {"a": None},
        },
        "cache": "no",
    }
    assert ToolDefinition.from_dict(data).to_dict() == data
    assert "does" not in repr(ToolDefinition.from_dict(data))


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        ({}, "function: expected an object with a name"),
        ({"name": "f", "description": 3}, "description: expected a text, got int"),
        ({"name": "f", "parameters": "{}"}, "parameters: expected an object, got str"),
        ({"name": "f", "strict": "yes"}, "strict: expected true or false, got str"),
    ],
)
def test_a_faulty_definition_is_reported_by_field(function: Any, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        ToolDefinition.from_dict({"function": function})
    assert str(caught.value).startswith(fault)


@attrs.define
class Place:
    city: str
    street: str = ""


def forecast(
    place: Place,
    unit: Literal["celsius", "fahrenheit"] = "celsius",
    *,
    days: Annotated[int, msgspec.Meta(ge=1, le=7)] = 1,
) -> str:
    """Look up the weather.

    Use it for any question about the weather.

    Args:
        place (Place): where; as precise
            as it is known.
        unit: of the temperatures.

    Returns:
        a text: not part of the schema.
    """
    return f"{place} {unit} {days}"


def test_a_function_becomes_a_tool() -> None:
    conversation = Conversation([], tools=[forecast])  # type: ignore[list-item]  # is converted
    assert conversation.tools == [tool_from_function(forecast)]
    assert conversation.to_dict()["tools"][0]["function"] == {
        "name": "forecast",
        "description": "Look up the weather.\n\nUse it for any question about the weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {
                    "$ref": "#/$defs/Place",
                    "description": "where; as precise as it is known.",
                },
                "unit": {
                    "enum": ["celsius", "fahrenheit"],
                    "description": "of the temperatures.",
                },
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
            },
            "required": ["place"],
            "$defs": {
                "Place": {
                    "title": "Place",
                    "type": "object",
                    "properties": {
                        "city": {"type": "string"},
                        "street": {"type": "string", "default": ""},
                    },
                    "required": ["city"],
                }
            },
        },
    }


def test_a_function_without_arguments_and_a_method_become_tools() -> None:
    def now() -> str:
        """Tell the time."""
        return ""

    class Clock:
        def at(self, zone: str) -> str:
            """Tell the time somewhere."""
            return zone

    assert tool_from_function(now).function.parameters == {
        "type": "object",
        "properties": {},
        "required": [],
    }
    parameters = tool_from_function(Clock().at).function.parameters
    assert parameters is not None
    assert list(parameters["properties"]) == ["zone"]


def undocumented(a: int) -> int:
    return a


def unhinted(a):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - what is shown here
    """Has no hints."""
    return a


def starred(*a: int) -> None:
    """Takes any number."""


def unknown_hint(a: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821 - shown here
    """Has a hint of nothing."""


def without_schema(a: type) -> None:
    """Has a type that JSON does not know."""


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (undocumented, "tools[0]: function undocumented: no docstring"),
        (unhinted, "tools[0]: function unhinted: argument 'a' needs a type hint"),
        (starred, "tools[0]: function starred: argument 'a' cannot be given by name"),
        (unknown_hint, "tools[0]: function unknown_hint: its signature cannot be read"),
        (without_schema, "tools[0]: function without_schema: no JSON Schema for its types"),
        (lambda: 0, "tools[0]: expected a named function"),
        (functools.partial(forecast), "tools[0]: expected a named function, got partial"),
        (Place, "tools[0]: expected a named function, got type"),
    ],
)
def test_a_function_that_says_too_little_is_refused(function: Any, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        Conversation([], tools=[function])
    assert str(caught.value).startswith(fault)

"""Whatever a conversation holds comes back from its JSON and its dict as it was."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.errors import DataError
from oumi_core.types import (
    ContentItem,
    Conversation,
    FunctionCall,
    FunctionDefinition,
    Message,
    Role,
    ToolCall,
    ToolDefinition,
)

texts = st.text(st.characters(codec="utf-8"), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip

KNOWN = {
    *("id", "type", "content", "text", "image_url", "binary"),
    *("role", "tool_calls", "tool_call_id", "reasoning_content"),
    *("function", "name", "arguments", "description", "parameters", "strict"),
    *("conversation_id", "messages", "metadata", "tools"),
}
unknown_fields = st.dictionaries(
    texts.filter(lambda name: name not in KNOWN), json_values, max_size=2
)

calls = st.builds(
    ToolCall,
    id=texts,
    function=st.builds(FunctionCall, name=texts, arguments=texts, extra=unknown_fields),
    type=st.just("function"),
    extra=unknown_fields,
)
definitions = st.builds(
    ToolDefinition,
    function=st.builds(
        FunctionDefinition,
        name=texts,
        description=st.none() | texts,
        parameters=st.none() | st.dictionaries(texts, json_values, max_size=2),
        strict=st.none() | st.booleans(),
        extra=unknown_fields,
    ),
    extra=unknown_fields,
)
filled = texts.filter(bool)
items = (
    st.builds(ContentItem, type=st.just("text"), content=texts, extra=unknown_fields)
    | st.builds(
        ContentItem,
        type=st.sampled_from(["image_url", "image_path"]),
        content=filled,
        binary=st.none() | st.binary(min_size=1, max_size=20),
        extra=unknown_fields,
    )
    | st.builds(
        ContentItem,
        type=st.just("image_binary"),
        binary=st.binary(min_size=1, max_size=40),
        extra=unknown_fields,
    )
)
optional: dict[str, Any] = {
    "id": st.none() | texts,
    "tool_call_id": st.none() | texts,
    "reasoning_content": st.none() | texts,
    "extra": unknown_fields,
}
roles = st.sampled_from(Role)
messages = (
    st.builds(Message, role=roles, content=texts)
    | st.builds(
        Message,
        role=roles,
        content=texts | st.lists(items, max_size=3),
        tool_calls=st.none() | st.lists(calls, max_size=2),
        **optional,
    )
    | st.builds(Message, role=roles, tool_calls=st.lists(calls, min_size=1, max_size=2), **optional)
)
conversations = st.builds(
    Conversation,
    messages=st.lists(messages, max_size=4),
    conversation_id=st.none() | texts,
    metadata=st.dictionaries(texts, json_values, max_size=3),
    tools=st.none() | st.lists(definitions, max_size=2),
    extra=unknown_fields,
)


@given(conversations)
def test_a_conversation_comes_back_from_its_json(conversation: Conversation) -> None:
    assert Conversation.from_json(conversation.to_json()) == conversation


@given(conversations)
def test_a_conversation_comes_back_from_its_dict(conversation: Conversation) -> None:
    assert Conversation.from_dict(conversation.to_dict()) == conversation


@given(conversations)
def test_its_json_and_its_dict_say_the_same_on_one_line(conversation: Conversation) -> None:
    line = conversation.to_json()
    assert "\n" not in line
    assert json.loads(line) == conversation.to_dict()


@given(texts, roles)
def test_the_short_way_in_makes_the_same_message_as_the_constructor(text: str, role: Role) -> None:
    message = Message.from_dict({"role": role.value, "content": text})
    assert message == Message(role, text)
    assert type(message) is Message
    assert attrs.asdict(message) == attrs.asdict(Message(role, text))


@given(json_values)
def test_any_json_value_is_a_conversation_or_a_data_error(value: Any) -> None:
    for read in (Conversation.from_dict, Message.from_dict, ContentItem.from_dict):
        with pytest.raises(DataError):
            read(value)


def test_oumis_own_line_is_written_back_as_it_was() -> None:
    line = (
        '{"conversation_id":"x","messages":[{"content":"s","role":"system"},'
        '{"content":[{"type":"text","content":"t"},{"type":"image_binary","binary":"iVBORw=="},'
        '{"type":"image_url","content":"http://a/b.png"},{"type":"image_path","content":"/a.png"}],'
        '"role":"user"},{"content":null,"role":"assistant","tool_calls":[{"id":"c1","type":'
        '"function","function":{"name":"f","arguments":"{\\"a\\": 1}"}}]},'
        '{"content":"42","role":"tool","tool_call_id":"c1"}],"metadata":{"k":1}}'
    )
    assert Conversation.from_json(line).to_json() == line
    assert Conversation.from_json(line.encode()).to_json() == line

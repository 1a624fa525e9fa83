from __future__ import annotations

import gc
import subprocess
import sys
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from oumi_core.errors import DataError
from oumi_core.types import Conversation, Message, Role, ToolDefinition

SYSTEM, USER, REPLY = (
    Message(Role.SYSTEM, "be short"),
    Message(Role.USER, "hi"),
    Message(Role.ASSISTANT, "hello"),
)
TOOL = {"type": "function", "function": {"name": "f"}}


def test_messages_are_found_by_place_role_and_condition() -> None:
    conversation = Conversation([SYSTEM, USER, REPLY, Message(Role.USER, "more")])
    assert conversation[1] is USER
    assert conversation.first_message() is SYSTEM
    assert conversation.first_message(Role.USER) is USER
    assert conversation.last_message(Role.USER) == Message(Role.USER, "more")
    assert conversation.last_message(Role.TOOL) is None
    short = conversation.filter_messages(role=Role.USER, filter_fn=lambda m: len(m.text) < 3)
    assert short == [USER]


def test_metadata_set_after_construction_is_kept() -> None:
    conversation = Conversation([USER])
    conversation.metadata["a"] = 1
    assert Conversation.from_json(conversation.to_json()).metadata == {"a": 1}
    assert conversation.to_dict()["metadata"] == {"a": 1}


def test_conversations_made_from_one_mapping_share_no_metadata() -> None:
    shared = {"a": 1}
    one, two = Conversation([USER], metadata=shared), Conversation([USER], metadata=shared)
    one.metadata["b"] = 2
    one.to_dict()["metadata"]["c"] = 3
    assert (shared, two.metadata, one.metadata) == ({"a": 1}, {"a": 1}, {"a": 1, "b": 2})


def test_conversations_made_from_one_list_share_no_messages() -> None:
    shared = [USER]
    one = Conversation(shared)
    one.messages.append(REPLY)
    assert shared == [USER]


def test_a_reply_makes_a_copy() -> None:
    conversation = Conversation.from_dict({"messages": [{"role": "user", "content": "hi"}], "x": 1})
    answered = conversation.with_reply(REPLY, {"usage": {"total_tokens": 3}})
    assert answered.messages == [USER, REPLY]
    assert answered.metadata == {"usage": {"total_tokens": 3}}
    answered.extra["y"] = 2
    assert conversation.extra == {"x": 1}
    assert conversation.messages == [USER]
    assert conversation.metadata == {}


def test_messages_and_tools_may_be_dicts() -> None:
    messages: Any = [{"role": "user", "content": "hi"}]
    tools: Any = [TOOL]
    conversation = Conversation(messages, tools=tools)
    assert conversation.messages == [USER]
    assert conversation.tools == [ToolDefinition.from_dict(TOOL)]


def test_mappings_other_than_dicts_are_read() -> None:
    message = OrderedDict(role="user", content="hi")
    assert Conversation.from_dict(MappingProxyType({"messages": [message]})).messages == [USER]


def test_the_name_goes_into_a_text() -> None:
    named = Conversation([], conversation_id="x")
    assert named.append_id_to_string("It failed. ") == "It failed. Conversation id: x."
    assert named.append_id_to_string("") == "Conversation id: x."
    assert Conversation([]).append_id_to_string("It failed.") == "It failed."


def test_the_repr_shows_no_text_and_str_shows_it() -> None:
    conversation = Conversation([USER], "x", metadata={"note": "hi"}, extra={"more": "hi"})
    assert repr(conversation) == "Conversation(id='x', 1 messages)"
    assert str(conversation) == "USER: hi"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ([], "expected an object with messages, got list"),
        ({}, "messages: missing"),
        ({"messages": "hi"}, "messages: expected a list, got str"),
        ({"messages": ["hi"]}, "messages[0]: expected an object with a role, got str"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type: None"),
        ({"messages": [], "conversation_id": 3}, "conversation_id: expected a text, got int"),
        ({"messages": [], "metadata": [1]}, "metadata: expected an object, got list"),
        ({"messages": [], "metadata": ""}, "metadata: expected an object, got str"),
        ({"messages": [], "tools": "f"}, "tools: expected a list, got str"),
        ({"messages": [], "tools": [TOOL, {}]}, "tools[1].function: expected an object"),
    ],
)
def test_a_faulty_conversation_is_reported_by_path(data: Any, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        Conversation.from_dict(data)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not JSON: it breaks off"),
        ("{", "not JSON: it breaks off"),
        ('{"messages": [}', "not JSON: "),
        ('{"messages": []} x', "not JSON: "),
        ('{"messages": [], "a": NaN}', "not JSON: "),
        ('{"messages": [], "a": 1e999}', "not JSON: "),
        ('{"messages": [], "a": ' + "9" * 5000 + "}", "not JSON: "),
        ('{"messages": [], "a": "\\ud800"}', "not JSON: "),
        ('{"messages": [], "a": "\ud800"}', "not UTF-8: "),
        (b'{"messages": [], "a": "\xff"}', "not UTF-8: 'utf-8' codec can't decode byte 0xff in"),
        (b'{"messages": [], "caf\xe9": 1}', "not UTF-8: 'utf-8' codec can't decode byte 0xe9 in"),
        (b'{"messages": [], "a": \xff}', "not UTF-8: 'utf-8' codec can't decode byte 0xff in pos"),
        (b'{"messages": [], "a": "\xed\xa0\x80"}', "not UTF-8: 'utf-8' codec can't decode byte"),
        (b'{"messages": [], "a": "caf\xc3', "not JSON: it breaks off"),
        (bytearray(b'{"a": "\xff"}'), "not UTF-8: "),
        (bytearray(b"{"), "not JSON: it breaks off"),
        ("[" * 100_000, "not readable: objects or lists are nested too deeply"),
        ('{"a":' * 100_000, "not readable: objects or lists are nested too deeply"),
    ],
    ids=lambda value: repr(value[:25]),
)
def test_what_is_no_json_is_a_data_error(text: Any, fault: str) -> None:
    gc.collect()  # not in the depth of a nested text, where what other tests left could not end
    with pytest.raises(DataError) as caught:
        Conversation.from_json(text)
    assert str(caught.value).startswith(fault)
    assert not str(caught.value).endswith(": ")  # without a reason


def test_integers_of_any_size_below_the_limit_survive() -> None:
    line = '{"messages":[],"a":' + "9" * 300 + "}"
    assert Conversation.from_json(line).to_json() == line


def loop() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize("value", [object(), "\ud800", loop()], ids=["object", "surrogate", "loop"])
def test_what_json_cannot_hold_is_a_data_error_that_names_the_conversation(value: Any) -> None:
    conversation = Conversation([USER], "x", metadata={"a": value})
    with pytest.raises(DataError, match=r"Conversation\(id='x', 1 messages\): cannot be written"):
        conversation.to_json()


def test_importing_the_types_imports_nothing_heavy() -> None:
    code = "import sys, oumi_core.types; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert not loaded & {"asyncio", "importlib.metadata", "yaml", "jsonschema", "click", "rich"}
    assert not loaded & {"cattrs", "pydantic", "numpy", "oumi_core.types.tool_from_function"}

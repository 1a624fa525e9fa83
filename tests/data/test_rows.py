from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.data import conversation_from_row
from oumi_core.errors import DataError
from oumi_core.types import ContentItem, ContentType, Conversation, Message, Role

HI = Message(Role.USER, "hi")
HELLO = Message(Role.ASSISTANT, "hello")


@pytest.mark.parametrize(
    "row",
    [
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
            ]
        },
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {"conversations": [{"from": "user", "value": "hi"}, {"from": "chatgpt", "value": "hello"}]},
        {"conversations": [{"from": "User", "value": "hi"}, {"from": "model", "value": "hello"}]},
        {
            "conversations": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
            ]
        },
        {"prompt": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]},
    ],
)
def test_each_shape_gives_the_same_conversation(row: dict[str, Any]) -> None:
    before = repr(row)
    assert conversation_from_row(row) == Conversation([HI, HELLO])
    assert repr(row) == before


def test_a_prompt_is_one_message_of_the_user() -> None:
    assert conversation_from_row({"prompt": "hi"}) == Conversation([HI])


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("human", Role.USER),
        ("user", Role.USER),
        ("gpt", Role.ASSISTANT),
        ("assistant", Role.ASSISTANT),
        ("chatgpt", Role.ASSISTANT),
        ("system", Role.SYSTEM),
        ("tool", Role.TOOL),
        ("observation", Role.TOOL),
    ],
)
def test_sharegpt_speakers_become_roles(name: str, role: Role) -> None:
    row = {"conversations": [{"from": name, "value": "x"}]}
    assert conversation_from_row(row)[0].role is role


def test_openai_content_parts_are_read() -> None:
    parts = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": "https://host/a.png", "detail": "low"}},
    ]
    conversation = conversation_from_row({"messages": [{"role": "user", "content": parts}]})
    assert conversation[0].content == [
        ContentItem(ContentType.TEXT, "what is it?"),
        ContentItem(ContentType.IMAGE_URL, "https://host/a.png", extra={"detail": "low"}),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "hi", "mine": 1}]},
        {"conversations": [{"from": "human", "value": "hi", "mine": 1}]},
        {"prompt": [{"role": "user", "content": "hi", "mine": 1}]},
    ],
)
def test_unknown_fields_survive(row: dict[str, Any]) -> None:
    conversation = conversation_from_row({"id": 7, **row, "score": None, "conversation_id": "x"})
    assert conversation.to_dict() == {
        "conversation_id": "x",
        "messages": [{"role": "user", "content": "hi", "mine": 1}],
        "id": 7,
        "score": None,
    }


def test_messages_decide_and_what_else_looks_like_a_shape_rides_along() -> None:
    row = {"messages": [{"role": "user", "content": "hi"}], "prompt": "hi", "conversations": []}
    conversation = conversation_from_row(row)
    assert conversation.messages == [HI]
    assert conversation.extra == {"prompt": "hi", "conversations": []}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"messages": []}, "messages: empty; "),
        ({"conversations": []}, "messages: empty; "),
        ({"prompt": []}, "messages: empty; "),
        ({"prompt": " \n"}, "messages: empty; the prompt is blank"),
        ({"prompt": None}, "prompt: expected a text or a list of messages, got NoneType"),
        ({"prompt": ["hi"]}, "prompt[0]: expected an object with a role, got str"),
        ({"messages": None}, "messages: expected a list, got NoneType"),
        ({"conversations": {}}, "conversations: expected a list, got dict"),
        ({"conversations": ["hi"]}, "conversations[0]: expected an object with from and value"),
        ({"conversations": [{"value": "hi"}]}, "conversations[0].from: NoneType is not one of"),
        ({"conversations": [{"from": "bob", "value": "hi"}]}, "conversations[0].from: 'bob' is"),
        ({"conversations": [{"from": "gpt"}]}, "conversations[0].value: expected a text"),
        ({"conversations": [{"from": "gpt", "value": "", "id": 3}]}, "conversations[0].id: "),
        ({"conversations": [], "prompt": "hi"}, "conversations and prompt: either could be"),
        ({"message": []}, "'message': unknown shape of a row; is 'messages' meant?"),
        ({"id": 1, "Conversation": []}, "'Conversation': unknown shape of a row; is 'conver"),
        ({"instruction": "x", "output": "y"}, "messages: missing; the row holds 'instruction',"),
        ({}, "messages: missing; the row holds nothing"),
        ([], "expected an object with messages, conversations or a prompt, got list"),
        (None, "expected an object with messages, conversations or a prompt, got NoneType"),
    ],
)
def test_a_faulty_row_is_reported_by_path(row: Any, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        conversation_from_row(row)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize("row", [{"message": []}, {"x": 1}, {"conversations": [], "prompt": ""}])
def test_an_unknown_or_ambiguous_shape_is_told_the_known_ones(row: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        conversation_from_row(row)
    for shape in ('{"messages": ', '{"conversations": ', '{"prompt": '):
        assert shape in str(caught.value)


def test_a_prompt_in_the_wrong_place_is_not_quoted() -> None:
    prompt = "a secret prompt that is long enough to be one"
    for row in ({prompt: 1}, {"conversations": [{"from": prompt, "value": "hi"}]}):
        with pytest.raises(DataError) as caught:
            conversation_from_row(row)
        assert prompt not in str(caught.value)


NAMES = st.sampled_from(
    ["messages", "conversations", "prompt", "role", "content", "from", "value", "type", "text",
     "image_url", "url", "binary", "tool_calls", "function", "name", "arguments", "tools",
     "metadata", "conversation_id", "id", "user", "gpt", "image_binary"]
)  # fmt: skip
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_value_is_a_conversation_or_a_data_error(row: Any) -> None:
    with contextlib.suppress(DataError):
        assert conversation_from_row(row).messages

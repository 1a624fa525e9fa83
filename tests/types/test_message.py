from __future__ import annotations

from typing import Any

import attrs
import pytest

from oumi_core.errors import DataError
from oumi_core.types import ContentItem, ContentType, Message, Role, ToolCall
from oumi_core.types.conversation import Type

PROMPT = "the quick brown prompt"
TEXT = ContentItem(ContentType.TEXT, "a")
IMAGE = ContentItem(ContentType.IMAGE_URL, "https://host/a.png")
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_a_role_may_be_given_as_text() -> None:
    message = Message(role="user", content="hi")
    assert message.role is Role.USER


@pytest.mark.parametrize("role", ["USER", "", None, 3, [], {}])
def test_an_unknown_role_is_refused(role: Any) -> None:
    with pytest.raises(DataError, match=r"role: .* is not one of system, user, assistant, tool"):
        Message(role, "hi")


@pytest.mark.parametrize(("theirs", "ours"), [("developer", "system"), ("function", "tool")])
def test_a_role_of_another_format_is_refused_with_the_name_to_use(theirs: str, ours: str) -> None:
    with pytest.raises(DataError, match=f"use '{ours}'"):
        Message.from_dict({"role": theirs, "content": "hi"})


def test_a_prompt_in_place_of_a_role_is_not_quoted() -> None:
    with pytest.raises(DataError) as caught:
        Message.from_dict({"role": PROMPT * 3, "content": "hi"})
    assert PROMPT not in str(caught.value)


def test_the_names_of_oumi_work() -> None:
    assert Type is ContentType
    assert Message(role=Role.USER, content=[ContentItem(type=Type.TEXT, content="a")]).text == "a"


@pytest.mark.parametrize(
    ("content", "counts", "images", "text", "only"),
    [
        ("a", (1, 1, 0), False, True, "text single_text"),
        ("", (1, 1, 0), False, True, "text single_text"),
        ([], (0, 0, 0), False, False, ""),
        ([TEXT], (1, 1, 0), False, True, "text single_text"),
        ([TEXT, TEXT], (2, 2, 0), False, True, "text"),
        ([IMAGE], (1, 0, 1), True, False, "image single_image"),
        ([IMAGE, IMAGE], (2, 0, 2), True, False, "image"),
        ([TEXT, IMAGE], (2, 1, 1), True, True, ""),
    ],
)
def test_what_a_message_contains(
    content: Any, counts: tuple[int, int, int], images: bool, text: bool, only: str
) -> None:
    message = Message(Role.USER, content)
    assert message.count_content_items() == counts
    assert len(message.content_items) == counts[0]
    assert len(message.text_content_items) == counts[1]
    assert len(message.image_content_items) == counts[2]
    assert message.contains_images() is images
    assert message.contains_text() is text
    found = {
        "text": message.contains_text_content_items_only(),
        "image": message.contains_image_content_items_only(),
        "single_text": message.contains_single_text_content_item_only(),
        "single_image": message.contains_single_image_content_item_only(),
    }
    assert {name for name, holds in found.items() if holds} == set(only.split())


def test_texts_are_joined_over_the_images_between_them() -> None:
    message = Message(Role.USER, [TEXT, IMAGE, ContentItem(ContentType.TEXT, "b")])
    assert message.compute_flattened_text_content() == "a b"
    assert message.compute_flattened_text_content("|") == "a|b"
    assert message.text == "ab"
    assert str(message) == "USER: a | <IMAGE_URL> | b"


def test_get_reads_fields_by_name() -> None:
    message = Message.from_dict({"role": "user", "content": "hi", "name": "ann"})
    assert message.get("content") == "hi"
    assert message.get("role") == "user"
    assert message.get("name") == "ann"
    assert message.get("tool_calls") is None
    assert message.get("tool_calls", []) == []
    assert message.get("to_dict", "no field") == "no field"


def test_no_repr_shows_a_text() -> None:
    item = ContentItem(ContentType.TEXT, PROMPT)
    call = ToolCall.from_dict({"function": {"name": "f", "arguments": PROMPT, "x": PROMPT}})
    shown = [
        repr(item),
        repr(call),
        repr(Message(Role.USER, PROMPT, extra={"x": PROMPT}, reasoning_content=PROMPT)),
        repr(Message(Role.USER, [item], tool_calls=[call])),
    ]
    assert PROMPT not in "".join(shown)
    assert "22 characters" in shown[2]


def test_a_message_cannot_be_changed() -> None:
    message = Message(Role.USER, "hi")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        message.content = "other"  # type: ignore[misc]  # what is shown here
    assert attrs.evolve(message, content="other").content == "other"


def test_a_message_keeps_lists_of_its_own() -> None:
    items, calls = [TEXT], [ToolCall.from_dict(CALL)]
    message = Message(Role.ASSISTANT, items, tool_calls=calls)
    items.append(IMAGE)
    calls.clear()
    assert message.content == [TEXT]
    assert message.tool_calls == [ToolCall.from_dict(CALL)]


def test_reading_leaves_the_callers_data_alone() -> None:
    data = {"role": "assistant", "content": [{"type": "text", "text": "a"}], "tool_calls": [CALL]}
    before = repr(data)
    message = Message.from_dict(data)
    message.extra["new"] = 1
    assert repr(data) == before


def test_dicts_are_taken_for_items_and_calls() -> None:
    content: Any = [{"type": "text", "content": "a"}]
    calls: Any = [CALL]
    message = Message(Role.ASSISTANT, content, tool_calls=calls)
    assert message.content == [TEXT]
    assert message.tool_calls == [ToolCall.from_dict(CALL)]


def test_content_is_written_as_null_beside_tool_calls() -> None:
    message = Message.from_dict({"role": "assistant", "tool_calls": [CALL]})
    assert message.content is None
    assert message.text == ""
    assert message.content_items == []
    assert message.to_dict() == {"content": None, "role": "assistant", "tool_calls": [CALL]}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("hi", "expected an object with a role, got str"),
        ({"role": "user"}, "content: a message needs content or tool calls"),
        ({"role": "user", "content": None, "tool_calls": []}, "content: a message needs"),
        ({"role": "user", "content": 3}, "content: expected a text or a list of items, got int"),
        ({"content": "hi"}, "role: NoneType is not one of"),
        ({"role": "user", "content": ["hi"]}, "content[0]: expected an object with a type"),
        ({"role": "user", "content": [{"type": "audio"}]}, "content[0].type: 'audio' is not one"),
        ({"role": "user", "content": "hi", "id": 3}, "id: expected a text, got int"),
        ({"role": "tool", "content": "hi", "tool_call_id": 3}, "tool_call_id: expected a text"),
        ({"role": "user", "content": "hi", "tool_calls": {}}, "tool_calls: expected a list"),
        ({"role": "user", "tool_calls": [{}]}, "tool_calls[0].function: expected an object"),
    ],
)
def test_a_faulty_message_is_reported_by_path(data: Any, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        Message.from_dict(data)
    assert str(caught.value).startswith(fault)


@pytest.mark.parametrize(
    ("part", "item"),
    [
        ({"type": "text", "text": "a"}, TEXT),
        ({"type": "image_url", "image_url": {"url": "https://host/a.png"}}, IMAGE),
        ({"type": "image_url", "image_url": "https://host/a.png"}, IMAGE),
    ],
)
def test_parts_of_the_chat_completions_format_are_read(part: Any, item: ContentItem) -> None:
    assert ContentItem.from_dict(part) == item


def test_fields_beside_the_url_are_kept() -> None:
    part = {"type": "image_url", "image_url": {"url": "u", "detail": "high"}}
    assert ContentItem.from_dict(part).extra == {"detail": "high"}


def test_a_field_beside_the_url_never_replaces_one_of_the_item() -> None:
    part = {"type": "image_url", "detail": 1, "image_url": {"url": "u", "detail": 2, "type": 3}}
    item = ContentItem.from_dict(part)
    assert item.extra == {"detail": 1, "image_url": {"detail": 2, "type": 3}}
    assert ContentItem.from_dict(item.to_dict()) == item


def test_a_data_url_stays_a_url() -> None:
    url = "data:image/png;base64,iVBORw=="
    item = ContentItem.from_dict({"type": "image_url", "image_url": {"url": url}})
    assert item == ContentItem(ContentType.IMAGE_URL, url)
    assert item.to_dict() == {"type": "image_url", "content": url}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"type": "text"}, "content: an item of type text needs a text"),
        ({"type": "text", "content": 3}, "content: expected a text, got int"),
        ({"type": "text", "content": "a", "binary": "iVBORw=="}, "binary: an item of type text"),
        ({"type": "image_url", "image_url": {}}, "content: an item of type image_url needs"),
        ({"type": "image_path", "content": ""}, "content: an item of type image_path needs"),
        ({"type": "image_binary"}, "binary: an item of type image_binary needs"),
        ({"type": "image_binary", "binary": ""}, "binary: an item of type image_binary needs"),
        ({"type": "image_binary", "binary": "%"}, "binary: not base64"),
        ({"type": "image_binary", "binary": "\u00e9"}, "binary: not base64"),
        ({"type": "image_binary", "binary": 3}, "binary: expected bytes, got int"),
    ],
)
def test_a_faulty_item_is_reported_by_field(data: Any, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        ContentItem.from_dict(data)
    assert str(caught.value).startswith(fault)


def test_an_empty_binary_of_oumi_is_no_binary() -> None:
    assert ContentItem.from_dict({"type": "text", "content": "a", "binary": ""}) == TEXT

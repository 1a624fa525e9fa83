"""OpenAI's batch input files: read as rows that bring their bodies, or refused with all faults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.data.openai_batch import read_openai_batch
from oumi_core.errors import DataError
from oumi_core.types import Conversation
from oumi_core.wire.given_body import given_body, row_of

if TYPE_CHECKING:
    from pathlib import Path


def request(custom_id: str, text: str, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    fields = {"model": "their-model", "messages": messages, **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": fields}


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "requests.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_rows_keep_their_ids_and_bring_their_bodies_as_they_are(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    wanted = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}, "strict": True}}
    more = {"max_completion_tokens": 9, "temperature": 1, "stop": "END", "user": "me", "n": None}
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "x"}}]
    rows = [
        request("b", "b", tools=[tool], response_format=wanted, **more),
        request("a", "a", temperature=0.25, own={"deep": [1, 2.5, None]}),
        request("c", "c", messages=[{"role": "user", "content": parts, "odd": 1}]),
    ]
    file = read_openai_batch(write(tmp_path, *rows))
    assert file.model == "their-model"
    assert [row.conversation_id for row in file] == ["b", "a", "c"]
    assert [row[0].text for row in file][:2] == ["b", "a"]
    assert [given_body(row) for row in file] == [row["body"] for row in rows]
    again = [Conversation.from_json(row.to_json()) for row in file]
    assert [given_body(row) for row in again] == [row["body"] for row in rows]


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in {"messages", "tools"}),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
        max_size=5,
    )
)
def test_whatever_a_body_holds_comes_back(fields: dict[str, Any]) -> None:
    body = {**fields, "messages": [{"role": "user", "content": "a"}]}
    assert given_body(Conversation.from_json(row_of(body, "r").to_json())) == body


def test_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, request("a", "x"))
    path.write_text(f"\n{path.read_text()}\n\n")
    assert len(list(read_openai_batch(path))) == 1


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, request("a", "x"), request("b", "y"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    file = read_openai_batch(path)
    assert [row.conversation_id for row in file] == ["a", "b"]
    file.check(lambda row: row)


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (request("r0", "b"), ":2: custom_id: 'r0' is that of line 1"),
        (request("r1", "b", model="other"), ":2: body.model: 'other' is not 'their-model'"),
        (request("r1", "b", model=7), ":2: body.model: int is no text"),
        (
            request("r1", "b", messages=[{"role": "me", "content": "a"}]),
            ":2: body.messages[0].role",
        ),
        ({**request("r1", "b"), "method": "GET"}, ":2: method: 'GET' is not POST"),
        (request("r1", "b", stream=True), ":2: body.stream"),
        (request("", "b"), ":2: custom_id: missing"),
        ({**request("r1", "b"), "url": "/v1/embeddings"}, ":2: url: '/v1/embeddings' is not"),
        ({**request("r1", "b"), "body": None}, ":2: body: missing"),
        (request("r1", "b", messages=[]), ":2: body.messages: empty"),
        ([], ":2: expected an object"),
    ],
)
def test_a_faulty_request_is_refused_with_its_line(tmp_path: Path, second: Any, fault: str) -> None:
    with pytest.raises(DataError) as raised:
        read_openai_batch(write(tmp_path, request("r0", "a"), second))
    assert fault in str(raised.value)


def test_all_faults_come_at_once_up_to_a_limit(tmp_path: Path) -> None:
    faulty = [request("", "a") for _ in range(30)]
    with pytest.raises(DataError) as raised:
        read_openai_batch(write(tmp_path, request("r0", "a"), *faulty))
    assert len(raised.value.faults) == 10


def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no requests"):
        read_openai_batch(write(tmp_path))
    with pytest.raises(DataError, match="cannot be read"):
        read_openai_batch(tmp_path / "none.jsonl")

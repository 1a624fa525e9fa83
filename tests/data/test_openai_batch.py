"""OpenAI's batch input files: read as conversations and overrides, or refused with all faults."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from oumi_core.configs import InferenceConfig
from oumi_core.data.openai_batch import read_openai_batch
from oumi_core.errors import DataError

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


def test_rows_keep_their_ids_and_what_they_have_in_common_is_of_the_config(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    wanted = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}, "strict": True}}
    more = {"max_completion_tokens": 9, "temperature": 1, "stop": "END", "user": "me", "n": None}
    rows = [
        request(name, name, tools=[tool], response_format=wanted, **more) for name in ("b", "a")
    ]
    file = read_openai_batch(write(tmp_path, *rows))
    assert [row.conversation_id for row in file.rows()] == ["b", "a"]
    assert [row[0].text for row in file.rows()] == ["b", "a"]
    assert all(row.tools and row.tools[0].function.name == "look" for row in file.rows())
    config = InferenceConfig.from_dict({}, file.overrides)
    assert config.model is not None
    assert config.generation is not None
    assert config.model.model_name == "their-model"
    generation = config.generation
    assert (generation.max_new_tokens, generation.temperature) == (9, 1.0)
    assert (generation.stop_strings, generation.extra_body) == (["END"], {"user": "me"})
    assert generation.guided_decoding is not None
    assert generation.guided_decoding.json == {"type": "object"}
    assert generation.guided_decoding.strict


def test_blank_lines_do_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path, request("a", "x"))
    path.write_text(f"\n{path.read_text()}\n\n")
    assert len(list(read_openai_batch(path).rows())) == 1


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (request("r0", "b"), ":2: custom_id: 'r0' is that of line 1"),
        (request("r1", "b", model="other"), ":2: body.model: differs"),
        (request("r1", "b", temperature=1), ":2: body.temperature: differs"),
        (request("r1", "b", stream=True), ":2: body.stream"),
        (request("", "b"), ":2: custom_id: missing"),
        ({**request("r1", "b"), "url": "/v1/embeddings"}, ":2: url: '/v1/embeddings' is not"),
        ({**request("r1", "b"), "body": None}, ":2: expected an object"),
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

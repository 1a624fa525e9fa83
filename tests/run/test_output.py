"""The output file: in input order whatever order rows end in, and whole or not there."""

from __future__ import annotations

import asyncio
import json
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oumi_core import InferenceFailed, get_engine
from oumi_core.configs import InferenceConfig
from oumi_core.engine import Engine, Request
from oumi_core.errors import ConfigError, DataError, EngineError
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message


class Shuffled(Engine):
    """Answers after as many turns of the loop as the prompt says; fails where it says `bad`."""

    async def complete(self, request: Request) -> Completion:
        turns, *bad = request.conversation[0].text.split()
        for _ in range(int(turns)):
            await asyncio.sleep(0)
        if bad:
            raise EngineError(Failure(FailureKind.BAD_REQUEST, "as told"))
        return Completion(Message("assistant", f"after {turns}"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=60), st.integers(1, 9))
def test_rows_stand_in_input_order_whatever_order_they_end_in(
    rows: list[tuple[int, bool]], num_workers: int
) -> None:
    conversations = [
        Conversation([Message("user", f"{turns}{' bad' if bad else ''}")], str(n))
        for n, (turns, bad) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        output, failed = Path(folder, "out.jsonl"), Path(folder, "out.jsonl.failed.jsonl")
        with get_engine(Shuffled, model="m", num_workers=num_workers) as engine:
            list(engine.run(conversations, output_path=output))
        good_ids = [str(n) for n, (_, bad) in enumerate(rows) if not bad]
        bad_ids = [str(n) for n, (_, bad) in enumerate(rows) if bad]
        assert [row["conversation_id"] for row in lines(output)] == good_ids
        assert failed.exists() == bool(bad_ids)
        if bad_ids:
            assert [row["conversation_id"] for row in lines(failed)] == bad_ids
        names = {output.name, "out.jsonl.oumi.db", *([failed.name] if bad_ids else [])}
        assert {path.name for path in Path(folder).iterdir()} == names


def test_each_output_line_is_the_input_with_the_reply_appended(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(
        '{"messages":[{"role":"user","content":"hi","mood":"good"}],"source":"web"}\n'
    )
    with get_engine("echo", model="m") as engine:
        list(engine.run(source, output_path=tmp_path / "out.jsonl"))
    (row,) = lines(tmp_path / "out.jsonl")
    assert row["messages"] == [
        {"role": "user", "content": "hi", "mood": "good"},
        {"role": "assistant", "content": "hi"},
    ]
    assert row["source"] == "web"


def test_a_failed_row_is_written_as_it_came_with_its_failure(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    rows = [Conversation([Message("user", "0")]), Conversation([Message("user", "0 bad")], "b")]
    config = InferenceConfig(output_path=str(output))
    with get_engine(Shuffled, model="m") as engine, pytest.raises(InferenceFailed):
        engine.infer(rows, config)
    assert len(lines(output)) == 1
    assert lines(tmp_path / "out.jsonl.failed.jsonl") == [
        {
            "conversation_id": "b",
            "messages": [{"role": "user", "content": "0 bad"}],
            "failure": {
                "kind": "bad_request",
                "message": "as told",
                "retryable": False,
                "index": 1,
                "attempts": 1,
            },
        }
    ]


def test_a_run_without_failures_leaves_no_failed_file_of_an_earlier_one(tmp_path: Path) -> None:
    stale = tmp_path / "out.jsonl.failed.jsonl"
    stale.write_text("{}\n")
    with get_engine("echo", model="m") as engine:
        list(engine.run([Conversation([Message("user", "x")])], output_path=tmp_path / "out.jsonl"))
    assert not stale.exists()


def test_a_run_that_is_stopped_leaves_the_output_of_an_earlier_one(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("earlier\n")
    rows = (Conversation([Message("user", str(n))]) for n in range(10**9))
    with get_engine("echo", model="m", num_workers=1) as engine:
        run = engine.run(rows, output_path=output)
        for result in run:
            if result.index == 10:
                run.stop()
    assert output.read_text() == "earlier\n"


@pytest.mark.parametrize("place", ["folder", "file/out.jsonl"])
def test_a_path_that_cannot_be_written_is_said_before_any_row(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with get_engine("echo", model="m") as engine:
        with pytest.raises(ConfigError, match="output_path: "):
            list(engine.run([Conversation([Message("user", "x")])], output_path=tmp_path / place))


def test_the_input_is_never_its_own_output(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"prompt": "hi"}\n')
    with get_engine("echo", model="m") as engine:
        with pytest.raises(ConfigError, match="is the input"):
            engine.run(source, output_path=tmp_path / "." / "rows.jsonl")


def test_a_bad_line_is_found_before_the_first_row_is_sent(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text('{"prompt": "hi"}\n' * 5000 + "{oops\n")
    with get_engine("echo", model="m") as engine:
        run = engine.run(source, output_path=tmp_path / "out.jsonl")
        with pytest.raises(DataError, match=r"rows\.jsonl:5001: "):
            list(run)
    assert not (tmp_path / "out.jsonl").exists()


def test_answers_are_their_owners_alone_to_read(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with get_engine("echo", model="m") as engine:
        list(engine.run([Conversation([Message("user", "x")])], output_path=output))
    journal = tmp_path / "out.jsonl.oumi.db"
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600

"""A run goes on where an earlier one to the same output stopped, and never blends two configs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from oumi_core import InferenceFailed, get_engine
from oumi_core.configs import InferenceConfig
from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message, Usage

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.types import Result


class Counting(Engine):
    """Answers, and remembers what it was asked."""

    asked: ClassVar[list[str]] = []
    failing: ClassVar[dict[str, FailureKind]] = {}
    capabilities: ClassVar[Capabilities] = Capabilities(guided=frozenset({"json"}), images=True)

    async def complete(self, request: Request) -> Completion:
        text = request.conversation[0].text
        self.asked.append(text)
        if text in self.failing:
            raise EngineError(Failure(self.failing[text], "as told", status=418))
        answer = json.dumps({"n": len(self.asked)})
        return Completion(Message("assistant", answer), usage=Usage(1, 2), model="m-1")


@pytest.fixture(autouse=True)
def _forget() -> None:
    Counting.asked.clear()
    Counting.failing.clear()


def rows(*texts: str) -> list[Conversation]:
    return [Conversation([Message("user", text)]) for text in texts]


def run(
    tmp_path: Path, conversations: list[Conversation], *, again: Any = None, **fields: Any
) -> tuple[list[str], list[Result]]:
    """What was asked, and the results in input order."""
    Counting.asked.clear()
    fields = {"num_workers": 1, "max_retries": 0, **fields}
    with get_engine(Counting, model="m", **fields) as engine:
        results = list(
            engine.run(conversations, output_path=tmp_path / "out.jsonl", **(again or {}))
        )
    return list(Counting.asked), sorted(results, key=lambda result: result.index)


def output(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def test_the_same_call_again_sends_nothing_and_gives_the_same_results(tmp_path: Path) -> None:
    _, first = run(tmp_path, rows("a", "b"))
    written = (tmp_path / "out.jsonl").read_bytes()
    asked, second = run(tmp_path, rows("a", "b"))
    assert asked == []
    assert [result.completion for result in second] == [result.completion for result in first]
    assert [result.conversation for result in second] == [result.conversation for result in first]
    assert [result.reused for result in second] == [True, True]
    assert (tmp_path / "out.jsonl").read_bytes() == written


def test_only_edited_and_added_rows_run_again_and_dropped_ones_leave_the_output(
    tmp_path: Path,
) -> None:
    run(tmp_path, rows("a", "b", "c"))
    asked, _ = run(tmp_path, rows("c", "b2", "a", "d"))
    assert asked == ["b2", "d"]
    assert [row["messages"][0]["content"] for row in output(tmp_path)] == ["c", "b2", "a", "d"]


def test_equal_rows_each_have_an_answer_of_their_own(tmp_path: Path) -> None:
    _, first = run(tmp_path, rows("a", "a", "b", "a"))
    asked, second = run(tmp_path, rows("a", "a", "a", "a", "b"))
    assert asked == ["a"]
    answers = [result.text for result in first]
    assert len(set(answers)) == 4
    assert sorted(result.text for result in second if result.reused) == sorted(answers)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"max_new_tokens": 7},
        {"json": {"type": "object"}},
        {"model": "n"},
        {"chat_template": "other"},
    ],
)
def test_a_changed_config_never_gets_old_answers_and_going_back_does(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    Counting.asked.clear()
    first = {"model": "m", "num_workers": 1}
    for fields, expected in ((first, 2), ({**first, **change}, 2), (first, 0)):
        Counting.asked.clear()
        with get_engine(Counting, **fields) as engine:
            list(engine.run(rows("a", "b"), output_path=tmp_path / "out.jsonl"))
        assert len(Counting.asked) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"num_workers": 5},
        {"api_key": "sk-x"},
        {"api_url": "http://localhost:1"},
        {"max_retries": 9},
    ],
)
def test_what_is_not_sent_does_not_count(tmp_path: Path, change: dict[str, Any]) -> None:
    run(tmp_path, rows("a"))
    with get_engine(Counting, model="m", **change) as engine:
        (result,) = engine.run(rows("a"), output_path=tmp_path / "out.jsonl")
    assert result.reused


def test_a_reused_answer_goes_to_the_row_as_it_is_now(tmp_path: Path) -> None:
    run(tmp_path, rows("a"))
    row = Conversation([Message("user", "a")], "named", {"mine": 1}, extra={"source": "web"})
    asked, _ = run(tmp_path, [row])
    assert asked == []
    (line,) = output(tmp_path)
    assert (line["conversation_id"], line["source"], line["metadata"]["mine"]) == (
        "named",
        "web",
        1,
    )


def test_a_reused_answer_is_parsed_again(tmp_path: Path) -> None:
    run(tmp_path, rows("a"), json={"type": "object"})
    _, (result,) = run(tmp_path, rows("a"), json={"type": "object"})
    assert (result.reused, result.parsed, result.checked) == (True, {"n": 1}, True)


def test_failures_that_may_pass_are_tried_again_and_others_are_not(tmp_path: Path) -> None:
    Counting.failing.update(a=FailureKind.TIMEOUT, b=FailureKind.BAD_REQUEST)
    _, first = run(tmp_path, rows("a", "b", "c"))
    assert [result.ok for result in first] == [False, False, True]
    Counting.failing.clear()
    asked, second = run(tmp_path, rows("a", "b", "c"))
    assert asked == ["a"]
    assert [result.ok for result in second] == [True, False, True]
    assert second[1].error == Failure(FailureKind.BAD_REQUEST, "as told", status=418)
    asked, third = run(tmp_path, rows("a", "b", "c"), again={"retry_failed": True})
    assert asked == ["b"]
    assert all(result.ok for result in third)
    assert len(output(tmp_path)) == 3
    assert not (tmp_path / "out.jsonl.failed.jsonl").exists()


def test_two_equal_rows_that_failed_are_both_tried_again(tmp_path: Path) -> None:
    Counting.failing.update(a=FailureKind.TIMEOUT)
    run(tmp_path, rows("a", "a"))
    Counting.failing.clear()
    asked, _ = run(tmp_path, rows("a", "a"))
    assert asked == ["a", "a"]
    assert len(output(tmp_path)) == 2


def test_fresh_forgets_earlier_answers(tmp_path: Path) -> None:
    run(tmp_path, rows("a"))
    asked, _ = run(tmp_path, rows("a"), again={"fresh": True})
    assert asked == ["a"]


def test_a_stopped_run_goes_on_and_infer_resumes_as_run_does(tmp_path: Path) -> None:
    conversations = rows(*(str(n) for n in range(100)))
    with get_engine(Counting, model="m", num_workers=1) as engine:
        stopped = engine.run(conversations, output_path=tmp_path / "out.jsonl")
        for result in stopped:
            if result.index == 30:
                stopped.stop()
        seen = len(Counting.asked)
        assert seen < 100
        config = InferenceConfig(output_path=str(tmp_path / "out.jsonl"))
        answers = engine.infer(conversations, config)
    assert len(Counting.asked) == 100
    assert [answer[0].text for answer in answers] == [str(n) for n in range(100)]
    assert len(output(tmp_path)) == 100


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"temperature": 0.5}, {}),
        ({"json": {"type": "object", "required": ["n"]}}, {}),
        ({}, {3: "another three", 80: "another eighty"}),
    ],
)
def test_a_change_after_half_a_run_reuses_exactly_the_rows_that_are_the_same(
    tmp_path: Path, change: dict[str, Any], text: dict[int, str]
) -> None:
    def answered(texts: list[str], most: int, **fields: Any) -> list[str]:
        """The rows that were sent; stopped after so many results."""
        Counting.asked.clear()
        with get_engine(Counting, model="m", num_workers=1, **fields) as engine:
            going = engine.run(rows(*texts), output_path=tmp_path / "out.jsonl")
            for count, _ in enumerate(going, 1):
                if count == most:
                    going.stop()
        return list(Counting.asked)

    schema = {"json": {"type": "object"}}
    before = [f"row {n}" for n in range(100)]
    after = [text.get(n, each) for n, each in enumerate(before)]
    first = answered(before, 50, **schema)
    assert 50 <= len(first) < 100
    second = answered(after, 1000, **{**schema, **change})
    assert second == [each for each in after if change or each not in first]
    # Nothing that was answered before has been lost.
    known = {*first, *(() if change else second)}
    third = answered(before, 1000, **schema)
    assert third == [each for each in before if each not in known]


def test_infer_raises_for_a_failure_that_an_earlier_run_recorded(tmp_path: Path) -> None:
    Counting.failing.update(a=FailureKind.BAD_REQUEST)
    run(tmp_path, rows("a"))
    config = InferenceConfig(output_path=str(tmp_path / "out.jsonl"))
    with get_engine(Counting, model="m") as engine, pytest.raises(InferenceFailed):
        engine.infer(rows("a"), config)


def test_an_awaited_input_resumes_too(tmp_path: Path) -> None:
    async def source() -> Any:
        for row in rows("a", "b"):
            yield row

    run(tmp_path, rows("a"))
    Counting.asked.clear()
    with get_engine(Counting, model="m") as engine:
        list(engine.run(source(), output_path=tmp_path / "out.jsonl"))
    assert Counting.asked == ["b"]


def test_two_runs_never_write_one_output_at_once(tmp_path: Path) -> None:
    with get_engine("echo", model="m") as engine:
        first = engine.run(iter(rows("a") * 5000), output_path=tmp_path / "out.jsonl")
        with first:
            next(iter(first))
            with pytest.raises(ConfigError, match="another run is writing this output"):
                list(engine.run(rows("a"), output_path=tmp_path / "out.jsonl"))
        list(engine.run(rows("a"), output_path=tmp_path / "out.jsonl"))


@pytest.mark.parametrize("content", [b"no database at all, but long enough" * 20, None])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    journal = tmp_path / "out.jsonl.oumi.db"
    if content is None:
        import sqlite3

        with sqlite3.connect(journal) as database:
            database.execute("CREATE TABLE mine (x)")
        database.close()
    else:
        journal.write_bytes(content)
    before = journal.read_bytes()
    with get_engine("echo", model="m") as engine:
        with pytest.raises(ConfigError, match="not a journal"):
            list(engine.run(rows("a"), output_path=tmp_path / "out.jsonl"))
    assert journal.read_bytes() == before

"""What follows an answer that is cut, empty or a refusal is the user's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from oumi_core import get_engine
from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.types import Completion, Conversation, FailureKind, FinishReason, Message

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.types import Result

TEXT = "x" * 100


class Terse(Engine):
    """Has 100 tokens to say, or nothing, or declines."""

    budgets: ClassVar[list[int]] = []
    capabilities: ClassVar[Capabilities] = Capabilities(guided=frozenset({"choice"}))

    async def complete(self, request: Request) -> Completion:
        budget = request.generation.max_new_tokens
        self.budgets.append(budget)
        match request.conversation[0].text:
            case "long":
                reason = FinishReason.LENGTH if budget < len(TEXT) else FinishReason.STOP
                return Completion(Message("assistant", TEXT[:budget]), reason)
            case "empty":
                return Completion(Message("assistant", ""), FinishReason.STOP)
            case _:
                return Completion(Message("assistant", ""), FinishReason.STOP, refusal="I won't")


@pytest.fixture(autouse=True)
def _forget() -> None:
    Terse.budgets.clear()


def result_of(prompt: str, **fields: Any) -> Result:
    with get_engine(Terse, model="m", **fields) as engine:
        (result,) = engine.run([Conversation([Message("user", prompt)])])
    return result


def test_a_cut_answer_is_accepted_and_says_so() -> None:
    result = result_of("long", max_new_tokens=10)
    assert (result.ok, result.text, result.finish_reason) == (True, TEXT[:10], "length")


def test_a_cut_answer_fails_if_that_is_wanted() -> None:
    result = result_of("long", max_new_tokens=10, on_truncated="fail")
    assert result.error is not None
    assert result.error.kind is FailureKind.TRUNCATED
    assert result.completion is not None
    assert Terse.budgets == [10]


def test_a_cut_answer_is_asked_for_again_with_twice_and_four_times_the_tokens() -> None:
    result = result_of("long", max_new_tokens=30, on_truncated="ask_again")
    assert (result.ok, result.text, result.attempts) == (True, TEXT, 3)
    assert Terse.budgets == [30, 60, 120]


def test_an_answer_that_is_still_cut_then_fails() -> None:
    result = result_of("long", max_new_tokens=10, on_truncated="ask_again")
    assert result.error is not None
    assert result.error.kind is FailureKind.TRUNCATED
    assert Terse.budgets == [10, 20, 40]


def test_a_cut_answer_that_does_not_fit_its_constraint_can_be_asked_for_again() -> None:
    fields = {"max_new_tokens": 50, "choice": [TEXT]}
    assert not result_of("long", **fields).ok
    assert result_of("long", **fields, on_truncated="ask_again").parsed == TEXT


@pytest.mark.parametrize(
    ("choice", "ok", "attempts"), [("accept", True, 1), ("fail", False, 1), ("ask_again", False, 3)]
)
def test_empty_answers(choice: str, ok: bool, attempts: int) -> None:
    result = result_of("empty", on_empty=choice)
    assert (result.ok, result.attempts) == (ok, attempts)
    assert ok or (result.error is not None and result.error.kind is FailureKind.EMPTY)


@pytest.mark.parametrize(
    ("choice", "ok", "attempts"), [("accept", True, 1), ("fail", False, 1), ("ask_again", False, 3)]
)
def test_refusals(choice: str, ok: bool, attempts: int) -> None:
    result = result_of("please", on_refused=choice)
    assert (result.ok, result.attempts) == (ok, attempts)
    assert result.text == ("I won't" if ok else "")


def test_a_changed_choice_judges_old_answers_anew_without_asking(tmp_path: Path) -> None:
    def run(choice: str) -> Result:
        Terse.budgets.clear()
        with get_engine(Terse, model="m", max_new_tokens=10, on_truncated=choice) as engine:
            rows = [Conversation([Message("user", "long")])]
            (result,) = engine.run(rows, output_path=tmp_path / "out.jsonl")
        return result

    assert not run("fail").ok
    assert run("accept").ok
    assert Terse.budgets == []
    assert not run("fail").ok
    assert Terse.budgets == [10]

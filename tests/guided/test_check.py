"""A check gives a verdict on every text, from any thread, and never an exception."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest

from oumi_core.configs import GuidedDecodingParams
from oumi_core.errors import ConfigError
from oumi_core.guided.check import Accepted, Fault, checker_for
from oumi_core.guided.constraint import Choice, Grammar, JsonSchema, Regex, constraint_of

LONE_SURROGATE = "\ud800"
DEEP = "[" * 100_000


def test_a_grammar_can_be_checked_from_two_threads_at_once() -> None:
    pytest.importorskip("llguidance")
    check = checker_for(Grammar('root ::= [a-z]+ "!"'))
    text = "abcdefghij" * 200 + "!"
    verdicts: list[Accepted | Fault | BaseException] = []

    def work() -> None:
        for _ in range(200):
            try:
                verdicts.append(check(text))
            except BaseException as error:  # noqa: BLE001 - Rust panics are BaseExceptions
                verdicts.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [Accepted(text)] * 400


@pytest.mark.parametrize(
    "constraint",
    [
        JsonSchema(schema=True),
        Regex("[a-z]+"),
        Choice(("yes", "no")),
        Grammar('root ::= [^a]+ "!"'),
    ],
    ids=lambda constraint: constraint.kind,
)
def test_a_lone_surrogate_is_a_fault_of_the_answer(constraint: Any) -> None:
    if isinstance(constraint, Grammar):
        pytest.importorskip("llguidance")
    assert isinstance(checker_for(constraint)(f"b{LONE_SURROGATE}!"), Fault)


def test_endless_nesting_is_a_fault_of_the_answer() -> None:
    verdict = checker_for(JsonSchema(schema=True))(DEEP)
    assert verdict == Fault("is nested too deeply to be checked")


def test_an_answer_too_deep_for_a_recursive_schema_is_a_fault() -> None:
    tree = {"type": "array", "items": {"$ref": "#"}}
    check = checker_for(JsonSchema(tree))
    assert check("[[[]]]") == Accepted([[[]]])
    assert check("[" * 900 + "]" * 900) == Fault("is nested too deeply to be checked")


def test_a_number_too_large_for_the_schema_is_a_fault() -> None:
    verdict = checker_for(JsonSchema({"multipleOf": 0.5}))("1" * 400)
    assert isinstance(verdict, Fault)


@attrs.frozen
class Picky:
    n: int

    def __attrs_post_init__(self) -> None:
        raise KeyError(self.n)


def test_a_class_that_raises_anything_makes_the_answer_faulty() -> None:
    verdict = checker_for(constraint_of(GuidedDecodingParams(json=Picky)))('{"n": 1}')
    assert verdict == Fault("does not make a Picky: KeyError: 1")


def test_a_pydantic_validator_that_raises_anything_makes_the_answer_faulty() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        n: int

        @pydantic.field_validator("n")  # type: ignore[untyped-decorator]
        @classmethod
        def look_up(cls, value: int) -> int:
            return {1: 2}[value]

    check = checker_for(constraint_of(GuidedDecodingParams(json=Model)))
    assert check('{"n": 1}') == Accepted(Model.model_construct(n=2))
    assert check('{"n": 5}') == Fault("does not make a Model: KeyError: 5")


@pytest.mark.parametrize(
    "text",
    ['foo ::= "a"', "root ::= bar", "", 'root ::= "a', "root ::= [z-a]", 'root ::= "\ud800"'],
)
def test_what_is_no_grammar_is_a_config_error(text: str) -> None:
    pytest.importorskip("llguidance")
    with pytest.raises(ConfigError, match=r"generation\.guided_decoding\.grammar: not a grammar"):
        checker_for(Grammar(text))

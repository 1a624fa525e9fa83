"""No pattern and no text freeze the process."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.guided.check import Accepted, Fault, checker_for
from oumi_core.guided.constraint import JsonSchema, Regex
from oumi_core.guided.patterns import Pattern, UndecidedError

WORDS = "The capital of France is called Paris and it is large"
ENDLESS = r"(\w+\s?)+\."
BEYOND_AUTOMATA = r"(?!x)(\w+\s?)+\."
"""The same with look-ahead, which no automaton has."""


def test_a_cut_answer_is_checked_against_nested_quantifiers() -> None:
    check = checker_for(Regex(ENDLESS))
    assert isinstance(check(WORDS), Fault)
    assert check(f"{WORDS}.") == Accepted(f"{WORDS}.")


@pytest.mark.parametrize("draft", [None, "https://json-schema.org/draft/2020-12/schema"])
def test_a_string_is_checked_against_nested_quantifiers_in_a_schema(draft: str | None) -> None:
    schema: dict[str, Any] = {"$schema": draft} if draft else {}
    schema |= {"items": {"$ref": "#"}, "pattern": f"^{ENDLESS}$"}
    check = checker_for(JsonSchema(schema))
    assert check(f'["{WORDS}."]') == Accepted([f"{WORDS}."])
    verdict = check(f'["{WORDS}"]')
    assert isinstance(verdict, Fault)
    assert verdict.reason.startswith(f"does not fit the schema at /0: {WORDS!r} does not match")


@pytest.mark.parametrize("forbidden", ["additionalProperties", "unevaluatedProperties"])
def test_a_property_name_is_checked_against_nested_quantifiers(forbidden: str) -> None:
    schema = {"patternProperties": {r"^([a-z]+_?)+$": {"type": "integer"}}, forbidden: False}
    check = checker_for(JsonSchema(schema))
    fine = "the_capital_of_france_is_called_paris"
    assert check(f'{{"{fine}": 1}}') == Accepted({fine: 1})
    assert isinstance(check(f'{{"{fine}": "1"}}'), Fault)
    assert isinstance(check('{"A": 1}'), Fault)
    verdict = check(f'[{{"{fine}!": 1}}]')
    assert isinstance(verdict, Fault)
    assert verdict.reason.startswith("could not be matched")


def test_what_only_re_can_match_has_an_end_too() -> None:
    pattern = Pattern(BEYOND_AUTOMATA)
    assert pattern.fullmatch(f"{WORDS}.")
    assert not pattern.fullmatch(f"x{WORDS}.")
    assert pattern.search(f"x{WORDS}.")
    with pytest.raises(UndecidedError, match="no end after 2 s"):
        pattern.fullmatch(WORDS)


def test_without_a_second_process_an_answer_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    verdict = checker_for(Regex(BEYOND_AUTOMATA))(f"{WORDS}.")
    assert isinstance(verdict, Fault)
    assert "no process to match in" in verdict.reason


@pytest.mark.parametrize(
    "pattern",
    [
        r"[0-9]{3}",
        r"(?s).*ANSWER: \d+",
        r"([a-z]+, )*[a-z]+",
        r"(a|aa){1,40}b?",
        r"(?=.*\d)(?=.*[a-z]).{8,}",
        r"(\w+) \1",
        r"(a)?(?(1)b|c)",
        r"(?>a+)b|a++c",
        r"(|a){100}b",
        r"(?i:A+)|\bb",
        r"(a{50}){50}",
    ],
)
@given(text=st.text(alphabet="abcA1 ,\n", max_size=12), times=st.sampled_from([1, 30]))
def test_short_and_long_texts_match_as_with_re(pattern: str, text: str, times: int) -> None:
    # Long by a run of spaces, on which none of these patterns makes `re` choke.
    text += " " * (times - 1)
    assert Pattern(pattern).fullmatch(text) == bool(re.fullmatch(pattern, text))
    assert Pattern(pattern).search(text) == bool(re.search(pattern, text))

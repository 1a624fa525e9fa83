"""The automaton says what `re` says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.guided.automaton import Automaton, NotRegularError

ATOMS = st.sampled_from(
    ["a", "b", "ab", ".", "[ab]", "[^a]", r"\w", r"\s", r"\d", "^", "$", r"\b", r"\B", r"\Z", r"\A"]
)
COUNTS = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "{0}", "*?", "+?", "{,2}?"])


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
        st.tuples(inner, COUNTS).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    )


PATTERNS = st.recursive(ATOMS, _larger, max_leaves=6)
FLAGS = st.sampled_from(["", "(?i)", "(?s)", "(?m)", "(?x)", "(?a)"])
TEXTS = st.text(alphabet="abA \n1é", max_size=6)


@given(flags=FLAGS, pattern=PATTERNS, text=TEXTS)
def test_it_agrees_with_re(flags: str, pattern: str, text: str) -> None:
    automaton = Automaton(flags + pattern)
    compiled = re.compile(flags + pattern)
    assert automaton.fullmatch(text) == bool(compiled.fullmatch(text))
    assert automaton.search(text) == bool(compiled.search(text))


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", "(?=a)a", "(?<!a)b", "(?>a+)b", "a*+b", "(?i:a)b", "(a)?(?(1)b|c)", "a{5000}"],
)
def test_what_is_not_regular_or_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(NotRegularError):
        Automaton(pattern)


def test_a_text_of_many_characters_is_matched_with_a_bounded_memory() -> None:
    automaton = Automaton(r"(\w+\s?)+\.")
    text = "".join(chr(0x4E00 + number % 20_000) for number in range(50_000))
    assert not automaton.fullmatch(text)
    assert automaton.fullmatch(text + ".")

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer
from llguidance.gbnf_to_lark import gbnf_to_lark
from oumi_core.errors import ConfigError

from oumi_llamacpp.grammar import choice_to_gbnf, regex_to_gbnf

BYTES = LLTokenizer("byte")


def derives(gbnf: str, text: str) -> bool:
    # As one terminal: llguidance cuts a text into terminals first, always taking the longest, and
    # so misses some ways to derive it from several.
    gbnf = gbnf.replace("root ::=", "root ::= whole\nwhole ::=", 1)
    matcher = LLMatcher(BYTES, LLMatcher.grammar_from_lark(gbnf_to_lark(gbnf)))
    assert not matcher.is_error(), (gbnf, matcher.get_error())
    data = list(text.encode())
    return bool(matcher.try_consume_tokens(data) == len(data) and matcher.is_accepting())


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        (r"[0-9]{3}-[0-9]{4}", ["555-1234", "555-123", "5555-1234", "", "555-12345"]),
        (r"yes|no", ["yes", "no", "yesno", "", "y"]),
        (r"^(yes|no)$", ["yes", "no", "yes\n"]),
        (r"\Ayes\Z", ["yes", "yes\n", " yes"]),
        (r"^a|b$", ["a", "b", "ab"]),
        (r"(^a|b$)", ["a", "b", "ab"]),
        (r"a.c", ["abc", "a\nc", "a\u20acc", "ac"]),
        (r"\d+", ["12", "\u0663", "", "1a"]),
        (r"\w+", ["a_1", "\u00e9", "\u4e2d", "a b", "-", "\U00010400"]),
        (r"\s*", ["", " \t\n", "\u00a0\u3000", "x"]),
        (r"\D\W\S", ["a-b", "1-b", "aab", "a- "]),
        (r"[^a-c\d]", ["d", "a", "5", "\n", "\U0001f600"]),
        (r"[\w.-]+@x", ["a.b-c@x", "@x", "a b@x"]),
        (r"(a*)*", ["", "aaa", "b"]),
        (r"(a|b?)+c", ["c", "abc", "bbac", "d"]),
        (r"(a?b?){2,3}", ["", "ab", "abab", "ababab", "abababab", "ba"]),
        (r"(?:a*b*)*?x", ["x", "abbax", "ab"]),
        (r"a{2,}?b{,2}", ["aa", "a", "aaabb", "aabbb"]),
        (r"x{0}y", ["y", "xy"]),
        (r"", ["", "a"]),
        (r"()", ["", "a"]),
        (r"(?P<year>\d\d)|", ["", "12", "1"]),
        (r'"\\\n\t\x01', ['"\\\n\t\x01', '"\\nt']),
        ("\u00e9\u4e2d\U0001f600+", ["\u00e9\u4e2d\U0001f600\U0001f600", "\u00e9"]),
        (r"[\]\\^\-\[\"]+", [']\\^-["', "a"]),
        (r"[\s\S]", ["a", "\n", "\U0010ffff", ""]),
        (r"(?#comment)a", ["a", "b"]),
        (r"((a|b)(c|d)){2}", ["acbd", "ac", "acb"]),
    ],
)
def test_a_grammar_derives_what_fullmatch_accepts(pattern: str, texts: list[str]) -> None:
    gbnf = regex_to_gbnf(pattern)

    assert [derives(gbnf, text) for text in texts] == [
        re.fullmatch(pattern, text) is not None for text in texts
    ]


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"a(?=b)", "look-ahead"),
        (r"a(?!b)", "look-ahead"),
        (r"(?<=a)b", "look-behind"),
        (r"(?<!a)b", "look-behind"),
        (r"(a)\1", "backreference"),
        (r"(?P<x>a)(?P=x)", "backreference"),
        (r"(a)?(?(1)b|c)", "conditional"),
        (r"\bword\b", "word boundary"),
        (r"a\Bb", "word boundary"),
        (r"a^b", "anchor"),
        (r"a$b", "anchor"),
        (r"(a$)+", "anchor"),
        (r"(?i)a", "a flag"),
        (r"(?s).", "a flag"),
        (r"(?i:a)", "a flag"),
        (r"(?-i:a)", "a flag"),
        (r"a++", "possessive"),
        (r"(?>a|ab)c", "atomic"),
        (r"a{2001}", "2001 times"),
        (r"[^\s\S]", "no character"),
        ("\x00", "no character"),
    ],
)
def test_what_no_grammar_can_say_is_refused_by_name(pattern: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        regex_to_gbnf(pattern)

    assert str(caught.value).startswith("generation.guided_decoding.regex: ")


def test_a_faulty_pattern_is_refused_with_the_place() -> None:
    with pytest.raises(ConfigError, match=r"not a regular expression: .* at position 0"):
        regex_to_gbnf("(a")


# Pairs of a pattern and a text that it matches. The texts stay short: on longer ones `re` itself
# may take hours over a repeat in a repeat.
Pair = tuple[str, str]

LEAVES = st.sampled_from(
    [
        *(("a", "a"), ("b", "b"), ("1", "1"), ("_", "_"), (" ", " "), (r"\.", "."), (r"\n", "\n")),
        *(("\u00e9", "\u00e9"), ("\U0001f600", "\U0001f600"), ('"', '"')),
        *((r"\d", "\u0663"), (r"\w", "\u00e9"), (r"\s", "\n"), (r"\D", "-"), (r"\W", "-")),
        *((r"\S", "c"), (".", "\U0001f600"), ("[ab]", "b"), ("[^ab]", "c"), (r"[\d_]", "_")),
        *((r"[^\w]", " "), ("[a-c1-3]", "c")),
    ]
)
QUANTIFIERS = st.sampled_from(
    [
        *(("*", 0), ("*", 2), ("+", 2), ("?", 0), ("*?", 1), ("+?", 1), ("??", 1)),
        *(("{2}", 2), ("{1,3}", 3), ("{0,2}?", 1)),
    ]
)


def in_a_row(pairs: list[Pair]) -> Pair:
    return "".join(pattern for pattern, _ in pairs), "".join(text for _, text in pairs)


def one_of(pairs: list[Pair]) -> Pair:
    return f"(?:{'|'.join(pattern for pattern, _ in pairs)})", pairs[-1][1]


def repeated(pair: Pair, quantifier: tuple[str, int]) -> Pair:
    return f"({pair[0]}){quantifier[0]}", pair[1] * quantifier[1]


def nested(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    return st.one_of(
        st.lists(inner, max_size=3).map(in_a_row),
        st.lists(inner, min_size=2, max_size=3).map(one_of),
        st.builds(repeated, inner, QUANTIFIERS),
    )


LARGE = re.compile(r"\\[dwsDWS]|\[\^")


def is_small(pair: Pair) -> bool:
    # llguidance itself breaks on some unions of classes with hundreds of ranges.
    return len(pair[1]) <= 10 and len(LARGE.findall(pair[0])) <= 1


PAIRS = st.recursive(LEAVES, nested, max_leaves=6).filter(is_small)
TEXTS = st.text(st.sampled_from('ab1_ .\n\u00e9\U0001f600"c-\u0663'), max_size=5)


@settings(max_examples=300, deadline=None)
@given(PAIRS, TEXTS)
def test_any_grammar_agrees_with_fullmatch(pair: Pair, other: str) -> None:
    pattern, matching = pair
    gbnf = regex_to_gbnf(pattern)

    assert derives(gbnf, matching), (gbnf, matching)
    assert derives(gbnf, other) is (re.fullmatch(pattern, other) is not None), (gbnf, other)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_a_choice_derives_its_options_and_nothing_else(options: list[str]) -> None:
    written = [option.replace("\x00", "0") for option in options]
    gbnf = choice_to_gbnf(written)

    assert all(derives(gbnf, option) for option in written)
    assert not derives(gbnf, "".join(written) + "x")

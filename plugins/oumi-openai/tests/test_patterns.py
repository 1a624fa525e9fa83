"""Which regular expressions can be sent, and how."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_openai.patterns import Unportable, portable


@pytest.mark.parametrize(
    ("pattern", "whole"),
    [
        (r"[0-9]{3}-[0-9]{4}", r"^[0-9]{3}-[0-9]{4}$"),
        (r"^a+$", r"^a+$"),
        (r"yes|no", r"^(yes|no)$"),
        (r"\d{,2}", r"^[0-9]{0,2}$"),
        (r"\w+\s?", r"^[A-Za-z0-9_]+[ \t\n\r\f\v]?$"),
        (r"[\d.-]+", r"^[0-9.-]+$"),
        (r"(?:ab)*?c", r"^(?:ab)*c$"),
        (r"[^a]", r"^[^a]$"),
        (r"\$\.\-\ \#", r"^\$\.- #$"),
        (r"[a\-z]", r"^[a\-z]$"),
        (r"\x41\u0042", r"^\x41\u0042$"),
        (r"a\$", r"^a\$$"),
        (r"a\\$", r"^a\\$"),
        ("", "^$"),
    ],
)
def test_what_all_dialects_share(pattern: str, whole: str) -> None:
    assert portable(pattern).whole == whole


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?=a)b", "look-around"),
        (r"(?i)a", "flags"),
        (r"(?P<a>b)", "names"),
        (r"(a)\1", r"'\\1'"),
        (r"\bword", r"'\\b'"),
        (r"\D", r"'\\D'"),
        (r"[^\d]", r"'\\d' inside"),
        (r"a++", "possessive"),
        (r"a$b", r"'\$' elsewhere"),
        (r"^a|b$", "anchor beside alternatives"),
        (r"[[a]", r"'\[' inside"),
        (r"[]a]", r"'\]' first"),
        (r"a{", r"bare '{'"),
        (r"a}", r"bare '}'"),
        (r"(", "no regular expression"),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_what_they_do_not_share_is_named(pattern: str, reason: str) -> None:
    with pytest.raises(Unportable, match=reason):
        portable(pattern)


def test_a_search_keeps_the_anchors_that_it_has() -> None:
    assert [portable(one).searched for one in ("a", "^a", "a$", "^a$")] == ["a", "^a", "a$", "^a$"]


_ATOMS = st.sampled_from(
    [*"ab09 -.", r"\d", r"\w", r"\s", "[a-c]", r"[\d_]", "[^x]", r"\.", r"\n", "(?:a|b)", "(c|dd)"]
)
_COUNTS = st.sampled_from(["", "", "*", "+?", "?", "{2}", "{,2}", "{1,3}?"])


@given(st.lists(st.tuples(_ATOMS, _COUNTS), max_size=5), st.data())
def test_what_fits_the_pattern_that_is_sent_fits_the_original(
    parts: list[tuple[str, str]], data: st.DataObject
) -> None:
    pattern = "".join(atom + count for atom, count in parts)
    text = data.draw(st.from_regex(portable(pattern).whole, fullmatch=True))
    # `$` also matches before a newline at the end, which other dialects do not let pass.
    assert re.fullmatch(pattern, text) or text.endswith("\n")

"""Sets of characters as ranges of code points, and how GBNF writes them."""

from __future__ import annotations

import functools
import re
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ANY", "CATEGORIES", "Ranges", "complement", "union", "written"]

Ranges = tuple[tuple[int, int], ...]
"""Pairs of first and last code point, both included."""

_LAST = 0x10FFFF
_BYTE_LAST = 0xFF

ANY: Ranges = ((1, 0xD7FF), (0xE000, _LAST))
"""Every character that a model can write: no NUL, which ends a text in llama.cpp, and no lone
surrogate, which has no UTF-8.
"""


def union(*sets: Ranges) -> Ranges:
    """All characters of the sets that can be written; sorted, joined where they touch."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(pair for ranges in sets for pair in ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(
        (max(first, low), min(last, high))
        for first, last in merged
        for low, high in ANY
        if max(first, low) <= min(last, high)
    )


def complement(ranges: Ranges) -> Ranges:
    """All other characters that can be written."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for first, last in union(ranges):
        gaps.append((start, first - 1))
        start = last + 1
    gaps.append((start, _LAST))
    return union(tuple((first, last) for first, last in gaps if first <= last))


def written(ranges: Ranges) -> str:
    """The set as a class in GBNF, as `[...]` or `[^...]`, whichever is shorter."""
    rest = complement(ranges)
    if not rest:
        # `[^]` is no class; what is left out here cannot be written anyway.
        return r"[^\x00]"
    if len(rest) < len(ranges):
        return "[^" + "".join(_range(*pair) for pair in rest) + "]"
    return "[" + "".join(_range(*pair) for pair in ranges) + "]"


def _range(first: int, last: int) -> str:
    return _code(first) if first == last else f"{_code(first)}-{_code(last)}"


def _code(code: int) -> str:
    char = chr(code)
    if code > _BYTE_LAST or (char.isascii() and char.isalnum()):
        return char
    return f"\\x{code:02X}"


@functools.cache
def _matching(pattern: str) -> Ranges:
    """The characters that a pattern of one character matches; asked of `re` itself (60 ms)."""
    everything = "".join(chr(code) for first, last in ANY for code in range(first, last + 1))
    found = re.finditer(f"(?:{pattern})+", everything)
    # Positions are not code points: NUL and the surrogates are missing from `everything`.
    return union(tuple((ord(m[0][0]), ord(m[0][-1])) for m in found))


def _category(pattern: str) -> Callable[[], Ranges]:
    return lambda: _matching(pattern)


CATEGORIES: Mapping[str, Callable[[], Ranges]] = MappingProxyType(
    {
        "CATEGORY_DIGIT": _category(r"\d"),
        "CATEGORY_NOT_DIGIT": _category(r"\D"),
        "CATEGORY_SPACE": _category(r"\s"),
        "CATEGORY_NOT_SPACE": _category(r"\S"),
        "CATEGORY_WORD": _category(r"\w"),
        "CATEGORY_NOT_WORD": _category(r"\W"),
    }
)
"""The names of Python's parser for `\\d`, `\\w`, ... -> the set; computed at first use."""

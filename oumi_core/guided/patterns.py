r"""Regular expressions that cannot freeze the process.

`re` holds the interpreter while it matches, so that neither another thread nor Ctrl-C gets through,
and `(\w+\s?)+\.` on 50 characters that do not fit takes years. So a text goes to

1. `re`, if no way of choking on a text of that length is left by a count of the pattern's choices:
   nearly all there are;
2. else an `Automaton`, which needs no more time for one text than for another;
3. else, for look-around and backreferences, `re` in a process of its own that is ended after 2 s.

llguidance, which has such automata as well, was no choice: it is an extra that few install, its
classes are not Python's (`\d`, `\w`, `.`), and it has no look-around either.
"""

from __future__ import annotations

import bisect
import functools
import marshal
import re
import sys
from typing import Any

from oumi_core.guided.automaton import Automaton, NotRegularError

__all__ = ["Pattern", "UndecidedError"]

_MOST_WAYS = 1_000_000
"""Ways through a pattern that `re` may try: measured, some 10 ms."""

_ONE_WAY = frozenset({"ASSERT", "ASSERT_NOT", "ATOMIC_GROUP", "POSSESSIVE_REPEAT"})
"""Parts that `re` never comes back into: their ways do not multiply with those of what follows."""

_LONGEST = 1 << 20
"""Characters; no answer is longer, so what is safe for these is safe."""

_MOST_STEPS = 20_000_000
"""Steps that an automaton may need, states times characters: at the very worst some seconds."""

_SECONDS = 2.0
"""How long a match in another process may take."""

_PROGRAM = """
import marshal, re, sys
pattern, method, text = marshal.load(sys.stdin.buffer)
sys.exit(10 if getattr(re.compile(pattern), method)(text) else 11)
"""
_ANSWERS = {10: True, 11: False}


class UndecidedError(Exception):
    """It would take too long to find out whether a text matches."""


class Pattern:
    """A regular expression of Python's `re`, with an end to each match."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._compiled = re.compile(pattern)

    def fullmatch(self, text: str) -> bool:
        """Whether the whole text matches.

        Raises:
            UndecidedError: that cannot be said in reasonable time.
        """
        if len(text) <= self._safe_whole:
            return self._compiled.fullmatch(text) is not None
        automaton = self._automaton_for(text)
        if automaton is not None:
            return automaton.fullmatch(text)
        return _elsewhere(self._pattern, "fullmatch", text)

    def search(self, text: str) -> bool:
        """Whether some part of the text matches.

        Raises:
            UndecidedError: as `fullmatch`.
        """
        if self.is_safe(text):
            return self._compiled.search(text) is not None
        automaton = self._automaton_for(text)
        if automaton is not None:
            return automaton.search(text)
        return _elsewhere(self._pattern, "search", text)

    def is_safe(self, text: str) -> bool:
        """Whether `re.search` can be let loose on a text of that length."""
        return len(text) <= self._safe_part

    def try_out(self, text: str) -> None:
        """See `re.search` come to an end, in a process of its own.

        Raises:
            UndecidedError: it does not, in reasonable time.
        """
        _elsewhere(self._pattern, "search", text)

    @functools.cached_property
    def _safe_whole(self) -> int:
        tree = _parsed(self._pattern)
        return _longest_safe(lambda length: _ways(tree, length))

    @functools.cached_property
    def _safe_part(self) -> int:
        tree = _parsed(self._pattern)
        return _longest_safe(lambda length: (length + 1) * _ways(tree, length))

    @functools.cached_property
    def _automaton(self) -> Automaton | None:
        try:
            return Automaton(self._pattern)
        except NotRegularError:
            return None

    def _automaton_for(self, text: str) -> Automaton | None:
        automaton = self._automaton
        if automaton is None or automaton.size * len(text) > _MOST_STEPS:
            return None
        return automaton


def _parsed(pattern: str) -> Any:
    return re._parser.parse(pattern)  # type: ignore[attr-defined]  # noqa: SLF001 - as in automaton.py


def _longest_safe(ways: Any) -> int:
    """The greatest length of a text for which `re` has few ways; -1 if it has many for any."""
    return bisect.bisect_right(range(_LONGEST), _MOST_WAYS, key=ways) - 1


def _ways(parts: Any, length: int) -> int:
    """At most so many ways lead through parts in a row, over a text of that length."""
    ways, aside = 1, 0
    for op, value in parts:
        tried = ways * _ways_of(str(op), value, length)
        if str(op) in _ONE_WAY:
            aside += tried
        else:
            ways = tried
    return min(ways + aside, _MOST_WAYS + 1)


def _ways_of(op: str, value: Any, length: int) -> int:
    match op:
        case "BRANCH":
            return sum(_ways(row, length) for row in value[1])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return _ways_of_repeat(value, length)
        case "GROUPREF_EXISTS":
            return _ways(value[1], length) + _ways(value[2] or (), length)
        case "SUBPATTERN" | "ASSERT" | "ASSERT_NOT":
            return _ways(value[-1], length)
        case "ATOMIC_GROUP":
            return _ways(value, length)
        case _:
            return 1


def _ways_of_repeat(repeat: tuple[int, Any, Any], length: int) -> int:
    low, high, inner = repeat
    top = length if str(high) == "MAXREPEAT" else min(int(high), length)
    counts = max(top - low, 0) + 1
    ways = _ways(inner, length)
    # More than 2 ** 20 are too many in any case; larger powers would only take time.
    return counts if ways == 1 else counts * ways ** min(max(top, low, 1), 20)


def _elsewhere(pattern: str, method: str, text: str) -> bool:
    """What `re` says in a process of its own: 20 ms, and an end."""
    import subprocess  # noqa: PLC0415 - import on use: few patterns come to this

    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter, with a program of ours
            [sys.executable, "-I", "-S", "-c", _PROGRAM],
            input=marshal.dumps((pattern, method, text)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
            start_new_session=True,  # Ctrl-C is for us, and must not look like an answer
        )
    except subprocess.TimeoutExpired as error:
        raise UndecidedError(f"no end after {_SECONDS:g} s") from error
    except OSError as error:
        raise UndecidedError(f"no process to match in: {error}") from error
    if done.returncode not in _ANSWERS:
        raise UndecidedError(f"the process that matched ended with {done.returncode}")
    return _ANSWERS[done.returncode]

"""Matches regular expressions without backtracking: each character of a text is looked at once.

`re` tries one way after another through a pattern, and there may be more of them than seconds in
the universe. Here all ways are followed side by side, so that the time grows with the product of
the pattern's and the text's length, whatever they hold. It costs up to 1 us a character where
`re` costs 0.01, so it is for those texts that `re` may choke on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Automaton", "NotRegularError"]

_MOST_STATES = 2000
"""More, of repeats such as `(a{100}){100}`, would cost more than they are worth."""

_MOST_REMEMBERED = 20_000
"""Steps; some 3 MB. A text of many different characters in many states starts afresh."""

_ACCEPT = 0


class NotRegularError(Exception):
    """A pattern with look-around, backreferences, local flags and the like, or a huge one."""


class Automaton:
    """A pattern as states, of which a text is in several at a time.

    Single characters and anchors are matched by `re` itself, so that both mean the same by them.
    May be used from several threads: what it remembers is only ever added, or dropped as a whole.

    Attributes:
        size: how many states there are.

    Raises:
        NotRegularError: the pattern cannot be had in this way.
    """

    def __init__(self, pattern: str) -> None:
        # Python's own parser: any other would disagree with `re` somewhere. It has no public name
        # since Python 3.11.
        self._tree = re._parser.parse(pattern)  # type: ignore[attr-defined]  # noqa: SLF001
        self.size = 0
        self._leaves: dict[str, re.Pattern[str]] = {}
        self._reads: dict[int, tuple[re.Pattern[str], int]] = {}
        self._skips: dict[int, list[tuple[re.Pattern[str] | None, int]]] = {_ACCEPT: []}
        self._start = self._row(list(self._tree), _ACCEPT)
        self._anchors = tuple(
            {anchor for skips in self._skips.values() for anchor, _ in skips if anchor}
        )
        self._widened: dict[Any, frozenset[int]] = {}
        self._moved: dict[Any, frozenset[int]] = {}

    def fullmatch(self, text: str) -> bool:
        """Whether the whole text matches, as `re.fullmatch`."""
        return self._run(text, anywhere=False)

    def search(self, text: str) -> bool:
        """Whether some part of the text matches, as `re.search`."""
        return self._run(text, anywhere=True)

    def _run(self, text: str, *, anywhere: bool) -> bool:
        states = frozenset({self._start})
        for at, char in enumerate(text):
            states = self._widen(states, text, at)
            if anywhere and _ACCEPT in states:
                return True
            states = self._move(states, char, anywhere=anywhere)
            if not states:
                return False
        return _ACCEPT in self._widen(states, text, len(text))

    def _widen(self, states: frozenset[int], text: str, at: int) -> frozenset[int]:
        """The states, and those that can be had from them without reading a character."""
        held = tuple(anchor for anchor in self._anchors if anchor.match(text, at))
        key = (states, held)
        known = self._widened.get(key)
        if known is not None:
            return known
        found = set(states)
        todo = list(states)
        while todo:
            for anchor, target in self._skips.get(todo.pop(), ()):
                if target not in found and (anchor is None or anchor in held):
                    found.add(target)
                    todo.append(target)
        return _remember(self._widened, key, found)

    def _move(self, states: frozenset[int], char: str, *, anywhere: bool) -> frozenset[int]:
        key = (states, char, anywhere)
        known = self._moved.get(key)
        if known is not None:
            return known
        reads = [self._reads[state] for state in states if state in self._reads]
        found = {target for leaf, target in reads if leaf.fullmatch(char)}
        if anywhere:
            found.add(self._start)
        return _remember(self._moved, key, found)

    def _row(self, parts: list[tuple[Any, Any]], then: int) -> int:
        """The state before parts in a row, after which comes `then`."""
        for op, value in reversed(parts):
            then = self._part(op, value, then)
        return then

    def _part(self, op: Any, value: Any, then: int) -> int:
        match str(op):
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                state = self._new()
                self._reads[state] = self._leaf(op, value), then
                return state
            case "AT":
                return self._skip([(self._leaf(op, value), then)])
            case "BRANCH":
                return self._skip([(None, self._row(list(row), then)) for row in value[1]])
            case "SUBPATTERN" if not value[1] and not value[2]:  # no flags of its own
                return self._row(list(value[3]), then)
            case "MAX_REPEAT" | "MIN_REPEAT":
                return self._repeat(value, then)
            case _:
                raise NotRegularError(str(op))

    def _repeat(self, repeat: tuple[int, Any, Any], then: int) -> int:
        low, high, inner = repeat
        row = list(inner)
        # `MAXREPEAT`, which stands for no upper bound, is no plain int by its text.
        if str(high) == "MAXREPEAT":
            state = self._skip([(None, then)])
            self._skips[state].append((None, self._row(row, state)))
        else:
            state = then
            for _ in range(high - low):
                state = self._skip([(None, then), (None, self._row(row, state))])
        for _ in range(low):
            state = self._row(row, state)
        return state

    def _leaf(self, op: Any, value: Any) -> re.Pattern[str]:
        key = f"{op} {value}"
        leaf = self._leaves.get(key)
        if leaf is None:
            part = re._parser.SubPattern(self._tree.state, [(op, value)])  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            leaf = re._compiler.compile(part)  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            self._leaves[key] = leaf
        return leaf

    def _skip(self, targets: list[tuple[re.Pattern[str] | None, int]]) -> int:
        state = self._new()
        self._skips[state] = targets
        return state

    def _new(self) -> int:
        self.size += 1
        if self.size > _MOST_STATES:
            raise NotRegularError("too many states")
        return self.size


def _remember(memory: dict[Any, frozenset[int]], key: Any, states: Iterable[int]) -> frozenset[int]:
    if len(memory) >= _MOST_REMEMBERED:
        memory.clear()
    memory[key] = value = frozenset(states)
    return value

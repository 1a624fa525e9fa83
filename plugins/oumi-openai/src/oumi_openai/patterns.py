r"""Regular expressions that mean the same to Python and to OpenAI's strict mode. Pure.

OpenAI does not say which dialect it reads, so only what all dialects of JSON Schema share is let
through: characters, classes, groups, alternatives and counts. What Python reads more widely than
others (`\d` is any digit of Unicode) is written as its ASCII part, so that an answer that fits
what was sent fits what was asked for.
"""

from __future__ import annotations

import re

import attrs

__all__ = ["Portable", "Unportable", "portable"]

_ASCII = {"d": "0-9", "w": "A-Za-z0-9_", "s": r" \t\n\r\f\v"}
"""Escapes for classes of characters, as the inside of a bracket."""

_CONTROLS = "nrtfv"
_SYNTAX = r"^$\.*+?()[]{}|/"
"""What may be escaped everywhere; some dialects refuse a backslash before anything else."""

_COUNT = re.compile(r"\{(\d*)(?:(,)(\d*))?\}", re.ASCII)
_ESCAPED_CODE = re.compile(r"x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}")
_SET_OPERATIONS = re.compile(r"--|&&|~~|\|\|")


class Unportable(ValueError):
    """A regular expression has no form that all dialects read alike; the text says why."""


@attrs.frozen
class Portable:
    """A regular expression in the part that all dialects share.

    Attributes:
        body: it, without the anchors at its ends.
        start: it had `^` at its start.
        end: it had `$` at its end.
    """

    body: str
    start: bool
    end: bool

    @property
    def whole(self) -> str:
        """With both anchors: matches a text that it matches from end to end."""
        return f"^({self.body})$" if "|" in self.body else f"^{self.body}$"

    @property
    def searched(self) -> str:
        """With the anchors that it had: matches a text that holds a match."""
        return f"{'^' if self.start else ''}{self.body}{'$' if self.end else ''}"


def portable(pattern: str) -> Portable:
    """A regular expression of Python's `re`, in the part that all dialects share.

    Raises:
        Unportable: it uses more than that.
    """
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise Unportable(f"is no regular expression of Python's: {error}") from error
    return _Reader(pattern).read()


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._end = _ends_in_anchor(pattern)
        self._start = pattern.startswith("^")
        self._text = pattern[self._start : len(pattern) - self._end]
        self._at = 0

    def read(self) -> Portable:
        if (self._start or self._end) and "|" in self._text:
            raise Unportable("has an anchor beside alternatives")
        pieces = []
        while self._at < len(self._text):
            pieces.append(self._next())
        return Portable("".join(pieces), self._start, self._end)

    def _next(self) -> str:
        char = self._take()
        if char == "\\":
            return self._escape()
        if char == "[":
            return self._bracket()
        if char == "(":
            return self._group()
        if char in "*+?{":
            return self._count(char)
        if char in "^$":
            raise Unportable(f"has {char!r} elsewhere than at its end")
        if char in "]}":
            raise Unportable(rf"has a bare {char!r}: write \{char}")
        return char

    def _take(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _escape(self) -> str:
        char = self._text[self._at]
        if char in _ASCII:
            self._at += 1
            return f"[{_ASCII[char]}]"
        return self._literal_escape(in_bracket=False)

    def _literal_escape(self, *, in_bracket: bool) -> str:
        code = _ESCAPED_CODE.match(self._text, self._at)
        if code is not None:
            self._at = code.end()
            return f"\\{code[0]}"
        char = self._take()
        if char in _CONTROLS or char in _SYNTAX or (char == "-" and in_bracket):
            return f"\\{char}"
        if not char.isalnum():
            return char
        raise Unportable(rf"has the escape '\{char}'")

    def _group(self) -> str:
        if self._text.startswith("?:", self._at):
            self._at += 2
            return "(?:"
        if self._text.startswith("?", self._at):
            raise Unportable("has '(?': look-around, flags and names of groups cannot be used")
        return "("

    def _count(self, char: str) -> str:
        counted = char
        if char == "{":
            count = _COUNT.match(self._text, self._at - 1)
            if count is None or not (count[1] or count[3]):
                raise Unportable(r"has a bare '{': write \{")
            counted = f"{{{count[1] or '0'}{count[2] or ''}{count[3] or ''}}}"
            self._at = count.end()
        if self._text.startswith("+", self._at):
            raise Unportable("has a possessive count")
        # Lazy or not makes no difference to what matches as a whole.
        self._at += self._text.startswith("?", self._at)
        return counted

    def _bracket(self) -> str:
        negated = self._text.startswith("^", self._at)
        self._at += negated
        pieces = ["[^" if negated else "["]
        if self._text.startswith("]", self._at):
            raise Unportable(r"has ']' first in a class: write \]")
        while (char := self._take()) != "]":
            if char == "[" or _SET_OPERATIONS.match(self._text, self._at - 1):
                raise Unportable(f"has {char!r} inside a class: put a backslash before it")
            pieces.append(self._escape_in_bracket(negated=negated) if char == "\\" else char)
        return "".join([*pieces, "]"])

    def _escape_in_bracket(self, *, negated: bool) -> str:
        char = self._text[self._at]
        if char not in _ASCII:
            return self._literal_escape(in_bracket=True)
        if negated:
            raise Unportable(rf"has '\{char}' inside [^...]")
        self._at += 1
        return _ASCII[char]


def _ends_in_anchor(pattern: str) -> bool:
    before = pattern.removesuffix("$")
    escapes = len(before) - len(before.rstrip("\\"))
    return before != pattern and escapes % 2 == 0

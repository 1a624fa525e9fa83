"""Regular expressions and choices as grammars in GBNF, llama.cpp's notation.

The grammar of a pattern derives exactly the texts that `re.fullmatch` accepts, as far as a model
can write them: NUL and lone surrogates are left out. What has no such grammar is refused.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from oumi_core.errors import ConfigError

from oumi_llamacpp.character_sets import CATEGORIES, complement, union, written
from oumi_llamacpp.pattern_nodes import Alt, Chars, Node, Repeat, Seq, is_nullable, nonempty

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from oumi_llamacpp.character_sets import Ranges

__all__ = ["choice_to_gbnf", "regex_to_gbnf"]

_WHERE = "generation.guided_decoding.regex"

_NEWLINE = ord("\n")

_MOST_REPEATS = 2000
"""llama.cpp refuses a grammar with a repeat of more."""

_INLINE_CLASS = 40
"""Characters; a longer class becomes a rule of its own: `\\w` has 5,000, and is used often."""

_REFUSED = {
    "ASSERT": "look-ahead or look-behind",
    "ASSERT_NOT": "look-ahead or look-behind",
    "GROUPREF": "a backreference",
    "GROUPREF_EXISTS": "a conditional group",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive quantifier",
    "FAILURE": "a part that matches nothing",
}


def choice_to_gbnf(options: Iterable[str]) -> str:
    """A grammar that derives the options and nothing else."""
    return "root ::= " + " | ".join(_literal(option) for option in options)


def regex_to_gbnf(pattern: str) -> str:
    """A grammar that derives what `re.fullmatch(pattern, ...)` accepts.

    Raises:
        ConfigError: the pattern is faulty, or holds what no grammar can say: look-around,
            backreferences, word boundaries, anchors inside, flags, possessive and atomic parts.
    """
    try:
        # Python's own parser of patterns: any other would disagree with `re` somewhere. It has
        # no public name since Python 3.11, and the same shape in every version since 2.0.
        tree = re._parser.parse(pattern)  # type: ignore[attr-defined]  # noqa: SLF001
    except re.error as error:
        raise ConfigError(f"{_WHERE}: not a regular expression: {error}") from error
    if tree.state.flags & ~re.UNICODE.value:
        raise _refusal("a flag")
    return _Writer().grammar(_sequence(list(tree), first=True, last=True))


def _refusal(what: str) -> ConfigError:
    return ConfigError(
        f"{_WHERE}: {what} cannot be enforced by llama.cpp, whose grammars know literals, "
        "classes, groups, alternatives and quantifiers; rewrite the pattern without it"
    )


def _sequence(parts: list[tuple[Any, Any]], *, first: bool, last: bool) -> Node:
    """The parts in a row. `first` and `last`: nothing can stand before or after them."""
    while first and parts and _is_anchor(parts[0], "AT_BEGINNING", "AT_BEGINNING_STRING"):
        parts = parts[1:]
    while last and parts and _is_anchor(parts[-1], "AT_END", "AT_END_STRING"):
        parts = parts[:-1]
    end = len(parts) - 1
    nodes = tuple(
        _node(str(op), value, first=first and at == 0, last=last and at == end)
        for at, (op, value) in enumerate(parts)
    )
    return nodes[0] if len(nodes) == 1 else Seq(nodes)


def _is_anchor(part: tuple[Any, Any], *names: str) -> bool:
    op, value = part
    return str(op) == "AT" and str(value) in names


def _node(op: str, value: Any, *, first: bool, last: bool) -> Node:
    match op:
        case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
            return _chars(op, value)
        case "BRANCH":
            options = value[1]
            return Alt(tuple(_sequence(list(o), first=first, last=last) for o in options))
        case "SUBPATTERN":
            _, added, removed, inner = value
            if added or removed:
                raise _refusal("a flag")
            return _sequence(list(inner), first=first, last=last)
        case "MAX_REPEAT" | "MIN_REPEAT":
            return _repeat(*value)
        case _:
            raise _refusal(
                _anchor_words(str(value)) if op == "AT" else _REFUSED.get(op, f"the part {op}")
            )


def _anchor_words(name: str) -> str:
    return r"the word boundary \b or \B" if "BOUNDARY" in name else "an anchor inside the pattern"


def _chars(op: str, value: Any) -> Node:
    if op == "IN":
        ranges = _class(value)
    else:
        code = _NEWLINE if op == "ANY" else value
        ranges = ((code, code),) if op == "LITERAL" else complement(((code, code),))
    kept = union(ranges)
    if not kept:
        raise _refusal("a class of no character that can be written")
    return Chars(kept)


def _class(items: Sequence[tuple[Any, Any]]) -> Ranges:
    negated = str(items[0][0]) == "NEGATE"
    ranges: list[tuple[int, int]] = []
    for op, value in items[1:] if negated else items:
        match str(op):
            case "LITERAL":
                ranges.append((value, value))
            case "RANGE":
                ranges.append(tuple(value))
            case _:
                ranges.extend(CATEGORIES[str(value)]())
    return complement(tuple(ranges)) if negated else tuple(ranges)


def _repeat(low: int, high: Any, inner: Any) -> Node:
    # `MAXREPEAT`, which stands for no upper bound, is no plain int by its text.
    top = None if str(high) == "MAXREPEAT" else int(high)
    if max(low, top or 0) > _MOST_REPEATS:
        raise _refusal(f"a repeat of {max(low, top or 0)} times (the most is {_MOST_REPEATS})")
    node = _sequence(list(inner), first=False, last=False)
    if top == 0:
        return Seq(())
    if is_nullable(node):
        # llama.cpp refuses a repeat of what may be empty: `(a*)*` is `(a+)*`.
        stripped = nonempty(node)
        return Repeat(stripped, 0, top) if stripped is not None else Seq(())
    return Repeat(node, low, top)


class _Writer:
    """Writes nodes as GBNF; long classes become rules, each once."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}

    def grammar(self, root: Node) -> str:
        text = self._write(root) or '""'
        rules = [f"{name} ::= {rule}" for rule, name in self._rules.items()]
        return "\n".join([f"root ::= {text}", *rules])

    def _write(self, node: Node) -> str:
        match node:
            case Chars(ranges):
                return self._class(ranges)
            case Seq(items):
                return self._row(items)
            case Alt(options):
                return "(" + " | ".join(self._write(o) or '""' for o in options) + ")"
            case Repeat(item, low, high):
                return self._unit(item) + _quantifier(low, high)

    def _row(self, items: Sequence[Node]) -> str:
        written_items: list[str] = []
        literal = ""
        for item in items:
            char = item.single() if isinstance(item, Chars) else None
            if char is not None:
                literal += char
                continue
            if literal:
                written_items.append(_literal(literal))
                literal = ""
            written_items.append(self._write(item))
        if literal:
            written_items.append(_literal(literal))
        return " ".join(text for text in written_items if text)

    def _unit(self, node: Node) -> str:
        """The node so that a quantifier behind it takes all of it."""
        text = self._write(node)
        match node:
            case Chars() | Alt():
                return text
            case Repeat():
                # llguidance, by which core checks grammars, misreads `("a"+)*`, but not this.
                return f'({text} "")'
            case Seq():
                return f"({text})"

    def _class(self, ranges: Ranges) -> str:
        text = written(ranges)
        return (
            text
            if len(text) <= _INLINE_CLASS
            else self._rules.setdefault(text, f"class-{len(self._rules) + 1}")
        )


def _quantifier(low: int, high: int | None) -> str:
    match low, high:
        case 0, None:
            return "*"
        case 1, None:
            return "+"
        case 0, 1:
            return "?"
        case _, None:
            return f"{{{low},}}"
        case _:
            return f"{{{low}}}" if low == high else f"{{{low},{high}}}"


def _literal(text: str) -> str:
    """The text as quoted runs; what cannot be printed stands between them as classes of one."""
    runs = (
        '"' + "".join(run).replace("\\", "\\\\").replace('"', '\\"') + '"'
        if printable
        else " ".join(written(((ord(char), ord(char)),)) for char in run)
        for printable, run in itertools.groupby(text, key=str.isprintable)
    )
    return " ".join(runs) or '""'

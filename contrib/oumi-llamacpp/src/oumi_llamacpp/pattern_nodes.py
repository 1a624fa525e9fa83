"""What a pattern is made of once Python's parser has read it: four kinds of node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from oumi_llamacpp.character_sets import Ranges

__all__ = ["Alt", "Chars", "Node", "Repeat", "Seq", "is_nullable", "nonempty"]


@attrs.frozen
class Chars:
    """One character of a set.

    Attributes:
        ranges: the set; not empty.
    """

    ranges: Ranges

    def single(self) -> str | None:
        """The character, if the set holds only one."""
        first, last = self.ranges[0]
        return chr(first) if len(self.ranges) == 1 and first == last else None


@attrs.frozen
class Seq:
    """All items in a row; the empty text if there are none."""

    items: tuple[Node, ...]


@attrs.frozen
class Alt:
    """One of the options."""

    options: tuple[Node, ...]


@attrs.frozen
class Repeat:
    """The item, which is never empty, `low` to `high` times; without an end if `high` is None."""

    item: Node
    low: int
    high: int | None


Node = Chars | Seq | Alt | Repeat


def is_nullable(node: Node) -> bool:
    """True if the empty text is one of those that the node stands for."""
    match node:
        case Chars():
            return False
        case Seq(items):
            return all(is_nullable(item) for item in items)
        case Alt(options):
            return any(is_nullable(option) for option in options)
        case Repeat(_, low, _):
            return low == 0


def nonempty(node: Node) -> Node | None:
    """The node's texts without the empty one; None if that leaves nothing."""
    match node:
        case Chars():
            return node
        case Seq(items):
            return _nonempty_row(items)
        case Alt(options):
            return _any_of([nonempty(option) for option in options])
        case Repeat(item, low, high):
            return Repeat(item, max(low, 1), high)


def _nonempty_row(items: tuple[Node, ...]) -> Node | None:
    """The first item that is not empty, and the rest as it is; for each that can be the first."""
    options: list[Node | None] = []
    for at, item in enumerate(items):
        head = nonempty(item)
        if head is not None:
            options.append(Seq((head, *items[at + 1 :])))
        if not is_nullable(item):
            break
    return _any_of(options)


def _any_of(options: list[Node | None]) -> Node | None:
    kept = tuple(option for option in options if option is not None)
    if len(kept) > 1:
        return Alt(kept)
    return kept[0] if kept else None

"""What a process holds on to: threads, children and sockets, to see whether they are let go of."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Holdings"]

_SELF = Path("/proc/self")


@attrs.frozen
class Holdings:
    """What this process held at one moment, each with words that name it.

    Children and sockets are read from `/proc`: where there is none (not Linux), they are empty.

    Attributes:
        threads: Python's threads that were alive.
        children: processes that it has started.
        sockets: open sockets, listening ones included.
    """

    threads: Mapping[int, str]
    children: Mapping[int, str]
    sockets: Mapping[int, str]

    @classmethod
    def now(cls) -> Holdings:
        """What is held now."""
        alive = {thread.ident or 0: f"thread {thread.name!r}" for thread in threading.enumerate()}
        return cls(alive, _children(), _sockets())

    def beyond(self, earlier: Holdings) -> list[str]:
        """What is held here and was not held `earlier`, in words."""
        return [
            words
            for name in ("threads", "children", "sockets")
            for key, words in getattr(self, name).items()
            if key not in getattr(earlier, name)
        ]


def _children() -> dict[int, str]:
    children: dict[int, str] = {}
    for listing in _SELF.glob("task/*/children"):
        with contextlib.suppress(OSError):  # the thread has ended meanwhile
            for pid in map(int, listing.read_text().split()):
                children[pid] = f"process {pid}"
    return children


def _sockets() -> dict[int, str]:
    sockets: dict[int, str] = {}
    for link in _SELF.glob("fd/*"):
        with contextlib.suppress(OSError):  # the descriptor of the listing itself has gone
            target = str(link.readlink())
            if target.startswith("socket:"):
                inode = int(target.removeprefix("socket:[").removesuffix("]"))
                sockets[inode] = f"socket at descriptor {link.name}"
    return sockets

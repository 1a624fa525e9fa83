"""Ctrl-C while a run goes on: the first lets it finish what is in flight, the second cancels."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["drained_by_ctrl_c"]


@contextlib.contextmanager
def drained_by_ctrl_c(stop: Callable[[], None]) -> Iterator[None]:
    """Have the first Ctrl-C call `stop`; the second raises `KeyboardInterrupt`, as usual.

    Args:
        stop: called in the middle of whatever the main thread does; must not print to a stream
            that the main thread may be writing to.
    """

    def first(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

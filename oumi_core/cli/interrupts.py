"""What Ctrl-C does while a run goes on, and in a chat."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

__all__ = ["ctrl_c_only_inside", "drained_by_ctrl_c"]


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


@contextlib.contextmanager
def ctrl_c_only_inside() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Have Ctrl-C raise `KeyboardInterrupt` in chosen places only, and do nothing elsewhere.

    One that comes a moment after the answer that it was to stop must not end the program.

    Yields:
        A function that makes the context inside of which it is raised; catch it around that.
    """
    inside = False

    @contextlib.contextmanager
    def interruptible() -> Iterator[None]:
        nonlocal inside
        inside = True
        try:
            yield
        finally:
            inside = False

    def interrupt(_: int, __: FrameType | None) -> None:
        if inside:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interruptible
    finally:
        signal.signal(signal.SIGINT, before)

"""What Ctrl-C and SIGTERM do while a run goes on, and Ctrl-C in a chat."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

__all__ = ["Asked", "ctrl_c_only_inside", "drained"]


class Asked:
    """What asked a run to stop.

    Attributes:
        by: the first signal; None while there was none.
    """

    by: signal.Signals | None = None


@contextlib.contextmanager
def drained(stop: Callable[[signal.Signals], None]) -> Iterator[Asked]:
    """Have the first Ctrl-C or SIGTERM call `stop`; the second raises `KeyboardInterrupt`.

    Args:
        stop: called in the middle of whatever the main thread does; must not print to a stream
            that the main thread may be writing to.

    Yields:
        What asked, if something does.
    """
    asked = Asked()

    def first(number: int, _: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.default_int_handler)
        asked.by = signal.Signals(number)
        stop(asked.by)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, first)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

"""One timer for the time-outs of all requests in flight.

A timer a request, as `asyncio.timeout` and aiohttp's own `total` have it, costs 13 us of the 135 us
of a request at 64 in flight and 25 us at 1,000: each is pushed onto the loop's heap, and stays
there, cancelled, long after its request. All requests of a pool may take equally long, so they run
out in the order in which they began, and a timer for the oldest does for all.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Deadlines"]

_NEVER = 365 * 86_400.0
"""Seconds that stand for no time-out at all."""


class Deadlines:
    """Cancels what takes longer than all may.

    Belongs to one event loop.

    Args:
        seconds: the most that anything watched may take; 0 for any time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds or _NEVER
        self._loop = asyncio.get_running_loop()
        self._watched: dict[_Watch, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> _Watch:
        """A context for one task; raises `TimeoutError` out of it when its time is over.

        As with `asyncio.timeout`, a cancellation from elsewhere passes through.
        """
        return _Watch(self._watched, self._begin, self._loop)

    def close(self) -> None:
        """Let go of the timer. What is still watched is left to itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self, watch: _Watch) -> None:
        watch.deadline = self._loop.time() + self._seconds
        self._watched[watch] = None
        if self._timer is None:
            self._timer = self._loop.call_at(watch.deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        for watch in list(self._watched):
            if watch.deadline > now:
                self._timer = self._loop.call_at(watch.deadline, self._expire)
                return
            watch.expire()


class _Watch:
    __slots__ = ("_begin", "_cancelling", "_expired", "_loop", "_task", "_watched", "deadline")

    def __init__(
        self,
        watched: dict[_Watch, None],
        begin: Callable[[_Watch], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._watched = watched
        self._begin = begin
        self._loop = loop
        self._expired = False
        self.deadline = 0.0

    def __enter__(self) -> Self:
        # Of a loop that is named: to find the running one asks the kernel who we are, 0.3 us.
        task = asyncio.current_task(self._loop)
        assert task is not None  # noqa: S101 - coroutines run in tasks
        self._task = task
        self._cancelling = task.cancelling()
        self._begin(self)
        return self

    def expire(self) -> None:
        del self._watched[self]
        self._expired = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._expired:
            del self._watched[self]
        elif self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

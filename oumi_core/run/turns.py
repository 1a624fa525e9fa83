"""Whose turn it is: rows of the input, and rows whose wait for another try is over.

A row that waits holds no worker. Workers that find nothing to do wait here, and are woken one for
each turn that has come.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    from oumi_core.engine import Request
    from oumi_core.run.feed import Feed
    from oumi_core.types.completion import Usage

__all__ = ["Turn", "Turns"]

T = TypeVar("T")


@attrs.define
class Turn(Generic[T]):
    """A row on its way through a run.

    Attributes:
        index: its place in the input.
        row: what the feed gave.
        started: when it was first sent, on the loop's clock; None before that.
        attempts: how often it was sent.
        retries: how often it was sent again, waits for a rate limit not counted.
        rate_limited: how often in a row the server has asked it to wait.
        asked_again: how often another answer was asked for, the last one being no good.
        request: what to send the next time, if it is not the row as it came.
        earlier_usage: tokens of its answers that were not taken; None while there are none.
        assumed_usage: the most that answers of it took whose tokens nobody counted, in a run with a
            budget; None while there are none.
    """

    index: int
    row: T
    started: float | None = None
    attempts: int = 0
    retries: int = 0
    rate_limited: int = 0
    asked_again: int = 0
    request: Request | None = None
    earlier_usage: Usage | None = None
    assumed_usage: Usage | None = None


class Turns(Generic[T]):
    """Gives each worker its next turn.

    Args:
        feed: the rows.
        most_waiting: while more rows than this wait for another try, no new one is begun.

    Attributes:
        dropped: turns that were to come again when it was stopped.
    """

    def __init__(self, feed: Feed[T], most_waiting: int) -> None:
        self._feed = feed
        self._most_waiting = most_waiting
        self._later: list[tuple[float, int, Turn[T]]] = []
        self._order = itertools.count()
        self._out = 0
        self._begins = True
        self._stopped = False
        self.dropped: list[Turn[T]] = []
        self._idle: deque[asyncio.Future[None]] = deque()
        self._pull: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None

    def take_now(self) -> Turn[T] | None:
        """The next turn, if there is one now."""
        turn = self._due() if self._later else None
        if turn is None and self._begins and len(self._later) <= self._most_waiting:
            row = self._feed.next()
            if row is not None:
                turn = Turn(*row)
        if turn is not None:
            self._out += 1
        return turn

    async def take(self) -> Turn[T] | None:
        """Wait for the next turn; None when there will be no more.

        Raises:
            Exception: the input's own, after all rows before it.
        """
        while True:
            turn = self.take_now()
            if turn is not None:
                return turn
            if self._is_over():
                self._wake(len(self._idle))
                if not self._stopped:
                    self._feed.raise_error()
                return None
            self._begin_pull()
            await self._wait()

    def _due(self) -> Turn[T] | None:
        if self._later[0][0] > asyncio.get_running_loop().time():
            return None
        turn = heapq.heappop(self._later)[2]
        self._set_alarm()
        return turn

    def _set_alarm(self) -> None:
        """See to it that somebody is woken when the first of those that wait is due."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if self._later:
            loop = asyncio.get_running_loop()
            self._alarm = loop.call_at(self._later[0][0], self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._later and self._later[0][0] > asyncio.get_running_loop().time():
            self._set_alarm()  # a loop may ring early: uvloop counts whole milliseconds
        else:
            self._wake(1)

    def _is_over(self) -> bool:
        if self._stopped:
            return True
        return self._feed.ended and not self._later and not self._out

    def _begin_pull(self) -> None:
        if self._pull is None and not self._feed.ended and not self._feed.ready:
            self._pull = asyncio.create_task(self._pull_rows())

    async def _pull_rows(self) -> None:
        try:
            await self._feed.pull(self._row_came)
        finally:
            self._pull = None
            self._wake(max(self._feed.ready, 1))

    def _row_came(self) -> None:
        self._wake(1)

    async def _wait(self) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._idle.append(woken)
        try:
            await woken
        except asyncio.CancelledError:
            if woken.done() and not woken.cancelled():
                self._wake(1)  # it was for whoever does the work now
            raise

    def _wake(self, workers: int) -> None:
        while workers and self._idle:
            woken = self._idle.popleft()
            if not woken.done():
                woken.set_result(None)
                workers -= 1

    def done(self) -> None:
        """A turn that was taken has had its outcome."""
        self._out -= 1
        if self._idle:
            self._wake(1)

    def again(self, turn: Turn[T], after: float) -> None:
        """A turn that was taken comes again after so many seconds; not once it was stopped."""
        if self._stopped:
            self.dropped.append(turn)
        else:
            due = asyncio.get_running_loop().time() + after
            heapq.heappush(self._later, (due, next(self._order), turn))
            if self._later[0][2] is turn:
                self._set_alarm()
        self.done()

    @property
    def out(self) -> int:
        """How many turns were taken and have had no outcome yet."""
        return self._out

    def pause(self) -> None:
        """Begin no new row until `resume`; those that were begun go on."""
        self._begins = False

    def resume(self) -> None:
        """Begin new rows again, unless stopped."""
        self._begins = not self._stopped
        self._wake(len(self._idle))

    def stop(self) -> None:
        """Begin no further turn; those that wait for another try are dropped, too."""
        self._begins, self._stopped = False, True
        self.dropped += [turn for _, _, turn in self._later]
        self._later.clear()
        self._wake(len(self._idle))

    async def close(self) -> None:
        """Let go of the input."""
        if self._alarm is not None:
            self._alarm.cancel()
        if self._pull is not None:
            self._pull.cancel()
            await asyncio.wait([self._pull])
        await self._feed.close()

"""Who may send now: one governor for all that shares a server's limits, in this process.

Everything here happens on one loop, whose clock (`loop.time()`, seconds) is the only one: a test
that runs a loop of its own time needs no real time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import attrs

from oumi_core.run.adaptive import Adaptive
from oumi_core.run.deadlines import Deadlines
from oumi_core.run.limits import Limit, Log, Spent
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from oumi_core.types.completion import Usage
    from oumi_core.types.failure import Failure

__all__ = ["Governor", "Ticket", "Wish"]

_BUDGET = 500
_COST = {FailureKind.TIMEOUT: 10}
_USUAL_COST = 5
"""The retry budget: tokens, what a retry costs of them (a time-out has cost the server more), and
a token back for each success. A server that fails one request in five never runs out of it; a dead
one gets about a hundred retries. The figures are those of the AWS SDKs' standard mode."""

_KEPT = 600.0
"""Seconds that a governor which nobody uses is kept, and what it has learned with it."""


@attrs.frozen
class Wish:
    """What a request wants from the governor; the same for all rows but for the tokens.

    Attributes:
        limits: the limits that the caller's config sets.
        amounts: how much of each unit this request will count for, as estimated; a unit that is
            not in it counts for 1.
        adaptive: True to hold to what the server has been seen to bear.
    """

    limits: tuple[Limit, ...]
    amounts: Mapping[str, int]
    adaptive: bool

    @property
    def line(self) -> tuple[tuple[Limit, ...], bool]:
        """Wishes of one line wait for each other; those of different ones do not."""
        return self.limits, self.adaptive


class Ticket(NamedTuple):
    """Leave to send one request; one a row, so no attrs class, which would take 0.4 us more.

    Attributes:
        started: when it was given; seconds of the loop's clock.
        spent: what it counts for, by unit.
        rate: the pace at which it starts, in requests a second; None if it holds to none.
    """

    started: float
    spent: tuple[tuple[str, Spent], ...] = ()
    rate: float | None = None


# What `Ticket(...)` comes to, without a Python function in between: half the time.
_ticket = tuple.__new__


class _Waiter(NamedTuple):
    number: int
    wish: Wish
    ticket: asyncio.Future[Ticket]


class Governor:
    """Admits requests, those with equal limits in the order of asking.

    - **Limits**: every limit is asked against one log of all requests to the server, from the
      time on when a run with any limit began. A request waits for its own limits only.
    - **Pause**: after a rate limit nobody sends until the wait that the server asked for is over.
    - **Adaptive limits**: what `Adaptive` has learned of the server, for those who want it. They
      are held to it among themselves: others would leave them no room.
    - **Retry budget**: a token bucket, so that retries do not storm a server that is down.

    Attributes:
        adaptive: what was learned from the answers of the server.
        deadlines: cuts tasks of this loop that take too long.
        counts_tokens: True if a limit of tokens was ever asked, so that every request has to say
            how many it will count for.
    """

    def __init__(self) -> None:
        """Make one for the loop that is running."""
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self.deadlines = Deadlines()
        self.counts_tokens = False
        self.paused_until = 0.0
        self.adaptive = Adaptive(self._clock())
        self.in_flight = 0
        self._adapting = 0  # those in flight that hold to what was learned
        self._held_back = False
        self._logs: dict[str, Log] = {}
        self._lines: dict[object, deque[_Waiter]] = {}
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._budget = _BUDGET
        self._used = self._clock()

    def count(self, limits: Iterable[Limit]) -> None:
        """Count from now on what these limits will be asked against, whoever sends it."""
        for limit in limits:
            self._logs.setdefault(limit.unit, Log()).look_back(limit.seconds)
            self.counts_tokens = self.counts_tokens or limit.unit != "requests"

    def admit_now(self, wish: Wish) -> Ticket | None:
        """Count a request that may start at once; None if it has to wait.

        The limits in the wish must be ones that it was told to `count` for.
        """
        if self._lines and wish.line in self._lines:
            return None
        now = self._clock()
        if wish.limits or wish.adaptive:
            ready = self._ready(wish, now)
            if ready is None or ready > now:
                return None
        elif self.paused_until > now:
            return None
        return self._start(wish, now)

    async def admit(self, wish: Wish) -> Ticket:
        """Wait until a request may start, and count it; as `admit_now`."""
        waiter = _Waiter(next(self._numbers), wish, self._loop.create_future())
        self._lines.setdefault(wish.line, deque()).append(waiter)
        self._admit_waiting()
        try:
            return await waiter.ticket
        except asyncio.CancelledError:
            if waiter.ticket.done() and not waiter.ticket.cancelled():
                ticket = waiter.ticket.result()
                for unit, spent in ticket.spent:
                    self._logs[unit].settle(spent, 0)  # it was never sent
                self.cancelled(ticket)
            else:
                self._admit_waiting()  # the next of its line may have less to wait for
            raise

    def _ready(self, wish: Wish, now: float) -> float | None:
        """The time from which the request may start; None for when another one has ended."""
        ready = self.paused_until
        for limit in wish.limits:
            amount = wish.amounts.get(limit.unit, 1)
            ready = max(ready, self._logs[limit.unit].ready(limit, amount, now))
        if wish.adaptive:
            adaptive = self.adaptive
            ready = max(ready, adaptive.pace.next)
            if ready <= now and self._adapting + 1 > adaptive.concurrency:
                return None
        return ready

    def _start(self, wish: Wish, now: float) -> Ticket:
        rate = None
        if wish.adaptive:
            rate = self.adaptive.started(now, self._adapting)
            self._adapting += 1
        self.in_flight += 1
        self._used = now
        if not self._logs:
            return _ticket(Ticket, (now, (), rate))
        spent = tuple(
            (unit, log.reserve(wish.amounts.get(unit, 1), now)) for unit, log in self._logs.items()
        )
        return Ticket(now, spent, rate)

    def _admit_waiting(self) -> None:
        """Admit all who may start, and see to it that this is done again when the next one may."""
        now = self._clock()
        soonest = float("inf")
        # While all wait for a pause to end, as before it: who is answered was sent before it.
        self._held_back = self._held_back and self.paused_until > now
        lines = [key for key in list(self._lines) if self._first(key) is not None]
        while lines:
            key = min(lines, key=lambda key: self._lines[key][0].number)
            waiter = self._lines[key][0]
            ready = self._ready(waiter.wish, now)
            if ready is not None and ready <= now:
                waiter.ticket.set_result(self._start(waiter.wish, now))
                if self._first(key) is not None:
                    continue
            elif ready is None:
                self._held_back = True
            else:
                soonest = min(soonest, ready)
            lines.remove(key)
        self._set_alarm(soonest)

    def _first(self, key: object) -> _Waiter | None:
        """The first of a line who still waits; None if the line has come to its end."""
        line = self._lines[key]
        while line and line[0].ticket.done():
            line.popleft()
        if line:
            return line[0]
        del self._lines[key]
        return None

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        waits = when < float("inf")
        self._alarm = self._loop.call_at(when, self._admit_waiting) if waits else None

    def end(self, ticket: Ticket, usage: Usage | None, failure: Failure | None) -> None:
        """A request has ended: settle what it counted for, and learn from how it went."""
        if usage is not None:
            for unit, spent in ticket.spent:
                if unit == "input_tokens":
                    self._logs[unit].settle(spent, usage.prompt_tokens)
                elif unit == "output_tokens":
                    self._logs[unit].settle(spent, usage.completion_tokens)
        if failure is not None:
            self._learn(ticket, failure)
        else:
            if self._budget < _BUDGET:
                self._budget += 1
            if ticket.rate is not None:
                now, adapting = self._clock(), self._adapting
                self.adaptive.answered(ticket.started, now, adapting, held_back=self._held_back)
                self._adapting -= 1
        self.in_flight -= 1
        if self._lines:
            self._admit_waiting()

    def _learn(self, ticket: Ticket, failure: Failure) -> None:
        self._leave(ticket)
        now, held_back = self._clock(), self._held_back
        self.adaptive.failed(failure, ticket.started, ticket.rate, now, held_back=held_back)

    def _leave(self, ticket: Ticket) -> None:
        """A request that brought no answer is not in flight for those who adapt any more."""
        if ticket.rate is not None:
            self.adaptive.left(self._clock(), self._adapting)
            self._adapting -= 1

    def cancelled(self, ticket: Ticket) -> None:
        """A request was given up: nothing is learned from it, and it still counts as sent."""
        self._leave(ticket)
        self.in_flight -= 1
        if self._lines:
            self._admit_waiting()

    def pause(self, seconds: float) -> None:
        """Let nobody send for so long."""
        self.paused_until = max(self.paused_until, self._clock() + seconds)

    def may_retry(self, failure: Failure) -> bool:
        """True if the retry budget has enough left for a retry after this failure."""
        return self._budget >= _COST.get(failure.kind, _USUAL_COST)

    def spend_retry(self, failure: Failure) -> None:
        """Take a retry after this failure from the budget."""
        self._budget -= _COST.get(failure.kind, _USUAL_COST)

    @property
    def unused_from(self) -> float:
        """The time from which nothing is lost with this governor; never while it is in use."""
        if self.in_flight or self._lines:
            return float("inf")
        longest = max((log.longest for log in self._logs.values()), default=0.0)
        return max(self._used, self.paused_until) + max(longest, _KEPT)

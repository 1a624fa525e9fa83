"""Who may send now: one governor for all that shares a server's limits, in this process.

Everything here happens on one loop, whose clock (`loop.time()`, seconds) is the only one: a test
that runs a loop of its own time needs no real time.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, NamedTuple

import attrs

from oumi_core.run.limits import Limit, Spent, Window
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from oumi_core.types.completion import Usage
    from oumi_core.types.failure import Failure

__all__ = ["Governor", "Ticket", "Wish", "governor_of"]

_BUDGET = 500
_COST = {FailureKind.TIMEOUT: 10}
_USUAL_COST = 5
"""The retry budget: tokens, what a retry costs of them (a time-out has cost the server more), and
a token back for each success. A server that fails one request in five never runs out of it; a dead
one gets about a hundred retries. The figures are those of the AWS SDKs' standard mode."""

_FIRST_CONCURRENCY = 8.0
_CUT = 0.7


@attrs.frozen
class Wish:
    """What a request wants from the governor; the same for all rows but for the tokens.

    Attributes:
        limits: the limits that the caller's config sets.
        amounts: how much of each unit this request will count for, as estimated.
        adaptive: True to hold to the concurrency that the server has been seen to bear.
    """

    limits: tuple[Limit, ...]
    amounts: Mapping[str, int]
    adaptive: bool


class Ticket(NamedTuple):
    """Leave to send one request; one a row, so no attrs class, which would take 0.4 us more.

    Attributes:
        started: when it was given; seconds of the loop's clock.
        spent: what it counts for, by window.
    """

    started: float
    spent: tuple[tuple[Window, Spent], ...] = ()


class Governor:
    """Admits requests one by one, in the order of asking.

    - **Limits**: no window holds more than its limit, from the first request on.
    - **Pause**: after a rate limit nobody sends until the wait that the server asked for is over.
    - **Concurrency** (adaptive): starts at 8 and doubles while all of it is used and answers come;
      cut to 0.7 once per episode of rate limits and time-outs (only a request that started after
      the last cut makes another one), and from then on one more per round of answers.
    - **Retry budget**: a token bucket, so that retries do not storm a server that is down.
    """

    def __init__(self) -> None:
        """Make one for the loop that is running."""
        self._clock = asyncio.get_running_loop().time
        self.paused_until = 0.0
        self.concurrency = _FIRST_CONCURRENCY
        self.in_flight = 0
        self._held_back = False
        self._windows: dict[Limit, Window] = {}
        self._budget = _BUDGET
        self._last_cut = float("-inf")
        self._asking = asyncio.Lock()
        self._changed = asyncio.Event()

    def admit_now(self, wish: Wish) -> Ticket | None:
        """Count a request that may start at once; None if it has to wait for others."""
        now = self._clock()
        if self._asking.locked() or self._wait(wish, now) != 0.0:
            return None
        return self._start(wish, now)

    async def admit(self, wish: Wish) -> Ticket:
        """Wait until a request may start, and count it."""
        async with self._asking:
            while (wait := self._wait(wish, self._clock())) != 0.0:
                self._held_back = wait is None
                self._changed.clear()
                try:
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                except TimeoutError:
                    continue
            self._held_back = False
            return self._start(wish, self._clock())

    def _wait(self, wish: Wish, now: float) -> float | None:
        """Seconds until the request may start; None for until another one has ended."""
        wait = self.paused_until - now if self.paused_until > now else 0.0
        for limit in wish.limits:
            window = self._windows.setdefault(limit, Window(limit))
            wait = max(wait, window.wait(wish.amounts.get(limit.unit, 1), now))
        if wait == 0.0 and wish.adaptive and self.in_flight >= int(self.concurrency):
            return None
        return wait

    def _start(self, wish: Wish, now: float) -> Ticket:
        self.in_flight += 1
        if not wish.limits:
            return Ticket(now)
        windows = [(self._windows[limit], limit.unit) for limit in wish.limits]
        return Ticket(
            now,
            tuple((each, each.reserve(wish.amounts.get(unit, 1), now)) for each, unit in windows),
        )

    def end(self, ticket: Ticket, usage: Usage | None, failure: Failure | None) -> None:
        """A request has ended: settle what it counted for, and learn from how it went."""
        if usage is not None:
            for window, spent in ticket.spent:
                if window.limit.unit == "input_tokens":
                    window.settle(spent, usage.prompt_tokens)
                elif window.limit.unit == "output_tokens":
                    window.settle(spent, usage.completion_tokens)
        if failure is None:
            self._budget = min(self._budget + 1, _BUDGET)
            self._grow()
        elif failure.kind in (FailureKind.RATE_LIMIT, FailureKind.TIMEOUT):
            self._cut(ticket)
        self.in_flight -= 1
        if self._asking.locked():
            self._changed.set()

    def _grow(self) -> None:
        if not self._held_back:
            return  # not all of it was used, so nothing is known about more
        never_cut = self._last_cut == float("-inf")
        self.concurrency += 1.0 if never_cut else 1.0 / self.concurrency

    def _cut(self, ticket: Ticket) -> None:
        if ticket.started > self._last_cut:
            self.concurrency = max(self.concurrency * _CUT, 1.0)
            self._last_cut = self._clock()

    def pause(self, seconds: float) -> None:
        """Let nobody send for so long."""
        self.paused_until = max(self.paused_until, self._clock() + seconds)

    def may_retry(self, failure: Failure) -> bool:
        """True if the retry budget has enough left for a retry after this failure."""
        return self._budget >= _COST.get(failure.kind, _USUAL_COST)

    def spend_retry(self, failure: Failure) -> None:
        """Take a retry after this failure from the budget."""
        self._budget -= _COST.get(failure.kind, _USUAL_COST)


_governors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, Governor]] = (
    weakref.WeakKeyDictionary()
)


def governor_of(scope: Hashable) -> Governor:
    """The running loop's governor for a scope; the same one from its first request on.

    It stays when the engine that asked for it has gone: a minute's limit holds across engines.
    """
    loop = asyncio.get_running_loop()
    return _governors.setdefault(loop, {}).setdefault(scope, Governor())

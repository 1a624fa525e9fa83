"""How many requests a second a server takes, learned from what it refuses."""

from __future__ import annotations

import math

__all__ = ["Pace"]

_DOUBLES_IN = 0.5
"""Seconds in which the pace doubles until the server refuses it for the first time."""

_CUT = 0.7
_SURELY_BELOW = 0.9
"""After a refusal the pace is what passed since the last one, but at least and at most so many
times the pace that was refused: the pauses between count as time in which nothing passed."""

_AIM = 0.95
_CURVE = 0.0005
"""The climb after a cut is CUBIC's (RFC 9438): fast at first, flat near the aim (so many times
what was refused), then faster and faster. With this curve, in units of the aim over seconds cubed,
a limit is tried again about every 12 s, and one that has risen to its fourfold is found in 25 s."""

_SLOWEST = 1 / 60
_LONGEST_STEP = 1.0
"""Requests a second, and the most seconds of climbing that one request can stand for."""

_CREDIT = 0.005
"""Seconds that a request may be late without the next one waiting for it: timers of loops are late
by a millisecond or two, which is nothing at 10 requests a second and half of the pace at 500."""


class Pace:
    """The times at which requests may start, spread evenly; every request at once until a refusal.

    Concurrency alone cannot fit a limit per second: where answers come faster than the limit
    allows, even one request at a time is too much.

    A refused pace is cut once however many requests meet it (an episode). Before its first cut the
    pace doubles until it is refused; after it, it climbs back and beyond by a fixed curve. It
    climbs only while it is used up: a pace that nobody tried out is not known to be borne.

    Attributes:
        rate: requests a second; infinite until a first refusal.
        next: the time from which the next request may start, on the caller's clock.
    """

    def __init__(self, now: float) -> None:
        """Begin to count what passes."""
        self.rate = math.inf
        self.next = -math.inf
        self._passed = 0
        self._since = now
        self._cut_at = -math.inf
        self._aim = math.inf
        self._climbed = 0.0
        self._climb_to_aim = 0.0

    def started(self, now: float) -> None:
        """A request has started; the rate must not be infinite."""
        gap = 1.0 / self.rate
        if now - self.next < max(gap, _CREDIT):  # else nobody waited for it
            self._climb(min(gap, _LONGEST_STEP))
        self.next = max(self.next, now - _CREDIT) + 1.0 / self.rate

    def _climb(self, seconds: float) -> None:
        if self._aim == math.inf:
            self.rate *= 2.0 ** (seconds / _DOUBLES_IN)
            return
        self._climbed += seconds
        away = self._climbed - self._climb_to_aim
        self.rate = max(self.rate, self._aim * (1.0 + _CURVE * away**3))

    def passed(self) -> None:
        """The server has taken a request."""
        self._passed += 1

    def refused(self, started: float, rate: float, now: float) -> None:
        """The server has refused a request that started at that time and at that rate."""
        if started <= self._cut_at or not self._passed:
            return  # an episode that is known, or a server that takes nothing at any pace
        passed = self._passed / max(now - self._since, 1.0)
        self._passed, self._since, self._cut_at = 0, now, now
        if rate == math.inf:
            self.rate = max(passed, _SLOWEST)
        else:
            lowest = max(_CUT * rate, _SLOWEST)
            self.rate = max(min(passed, _SURELY_BELOW * rate), lowest)
            self._aim = max(_AIM * rate, self.rate)
            self._climbed = 0.0
            self._climb_to_aim = math.cbrt((1.0 - self.rate / self._aim) / _CURVE)
        self.next = now + 1.0 / self.rate

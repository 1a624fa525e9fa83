"""How many requests a second a server takes, learned from what it refuses."""

from __future__ import annotations

import math

__all__ = ["Pace"]

_DOUBLES_IN = 0.5
"""Seconds in which the pace doubles until the server refuses it for the first time."""

_CUT = 0.7
_STEP_BACK = 0.9
"""After a refusal the pace is what passed since the last one, but at least and at most so many
times the pace that was refused: the pauses between count as time in which nothing passed."""

_RECENT = 2.0
"""Seconds: what passed longer ago than twice this counts less and less."""

_AIM = 0.95
_CURVE = 0.0008
"""The climb after a cut is CUBIC's (RFC 9438): fast at first, flat near the aim (so many times
what was refused), then faster and faster. With this curve, in units of the aim over seconds cubed,
a limit is tried again about every 8 s, and one that has risen to its fourfold is found in 20 s."""

_BEYOND = 1.1
"""A first refusal at so many times the aim may be chance: requests that are held up somewhere
arrive together. Then the pace only steps back on its curve, until a second one confirms it."""

_SLOWEST = 1 / 60
_LONGEST_STEP = 0.5
"""Requests a second, and the most seconds of climbing that one request can stand for."""

_CREDIT = 0.005
"""Seconds that a request may be late without the next one waiting for it: timers of loops are late
by a millisecond or two, which is nothing at 10 requests a second and half of the pace at 500."""


class Pace:
    """The times at which requests may start, spread evenly; every request at once until a refusal.

    Concurrency alone cannot fit a limit per second: where answers come faster than the limit
    allows, even one request at a time is too much.

    A refused pace is cut once however many requests meet it (an episode). From the first one on,
    the pace is what passed until then, and doubles until it is refused; after that, it climbs back
    and beyond by a fixed curve. It climbs only while it is used up: a pace that nobody tried out is
    not known to be borne.

    Attributes:
        rate: requests a second; infinite until a first refusal.
        next: the time from which the next request may start, on the caller's clock.
    """

    def __init__(self, now: float) -> None:
        """Begin to count what passes."""
        self.rate = math.inf
        self.next = -math.inf
        self._passed = 0.0
        self._since = now
        self._cut_at = -math.inf
        self._aim = math.inf
        self._doubted = 0.0
        self._climbed = 0.0
        self._climb_to_aim = 0.0

    def started(self, now: float) -> None:
        """A request has started; the rate must not be infinite."""
        if now - self._since > 2 * _RECENT:
            self._passed, self._since = self._passed / 2, (self._since + now) / 2
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
        if started <= self._cut_at:
            return  # an episode that is known
        first = rate == math.inf
        if not (self._passed or first):
            return  # a server that takes nothing, whatever the pace
        passed = max(self._passed, 1) / max(now - self._since, 1.0)
        self._passed, self._since, self._cut_at = 0.0, now, now
        if first:
            self.rate = passed
        elif rate > _BEYOND * max(self._aim, self._doubted):
            self._doubted = rate
            self.rate = _STEP_BACK * rate
            self._climbed = self._climb_to_aim + math.cbrt((self.rate / self._aim - 1.0) / _CURVE)
        else:
            self._doubted = 0.0
            self.rate = max(min(passed, _STEP_BACK * rate), _CUT * rate)
            self._aim = _AIM * rate
            self._climbed = 0.0
            self._climb_to_aim = math.cbrt((1.0 - self.rate / self._aim) / _CURVE)
        self.rate = max(self.rate, _SLOWEST)
        self.next = now + 1.0 / self.rate

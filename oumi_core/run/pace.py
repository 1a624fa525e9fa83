"""How many requests a second a server takes, learned from what it refuses."""

from __future__ import annotations

import math

__all__ = ["Pace"]

_DOUBLES_IN = 0.5
"""Seconds in which the pace doubles until the server refuses it for the first time."""

_CUT = 0.7
_STEP_BACK = 0.9
"""After a refusal the pace is what passed since the last one, but at least and at most so many
times the pace that was refused: little can have passed by chance, and all if the server had saved
room for it."""

_RECENT = 2.0
"""Seconds: what passed longer ago than twice this counts less and less."""

_AIM = 0.95
_CURVE = 1e-5
_POWER = 5
"""The climb after a cut is fast at first, flat near the aim (so many times what was refused), then
faster and faster: as CUBIC's (RFC 9438), but of the fifth power. So a limit that stays is tried
again only every 11 s, and one that rises to its fourfold is found in 20 s; the third power, with
every 8 s, takes as long. In units of the aim over the fifth power of seconds."""

_LONE = 5
_NEAR = 0.9
"""A refusal after so many requests have passed, not near the aim, may be chance: requests that are
held up somewhere arrive together. Then the pace only steps back on its curve, until another refusal
so near to that pace confirms it."""

_VAIN_CUTS = 10
_MOSTLY = 2
"""So many cuts in a row, without a climb back to the aim, reach a limit that fell to a 35th.
If so many requests passed for each of them, it is not the pace that is refused, and more cuts would
follow down to the slowest. Above a limit that fell further, little passes between two cuts."""

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
        passed: requests that the server has taken lately, to be counted by the caller.
    """

    def __init__(self, now: float) -> None:
        """Begin to count what passes."""
        self.rate = math.inf
        self.next = -math.inf
        self.passed = 0.0
        self._since = now
        self._cut_at = -math.inf
        self._aim = math.inf
        self._doubted = 0.0
        self._climbed = 0.0
        self._climb_to_aim = 0.0
        self._cuts = 0
        self._taken = 0.0

    @property
    def is_cut_in_vain(self) -> bool:
        """True if cut follows cut though most requests pass: no limit explains that."""
        return self._cuts >= _VAIN_CUTS and self._taken >= _MOSTLY * self._cuts

    def started(self, now: float) -> None:
        """A request has started; the rate must not be infinite."""
        self.forget(now)
        gap = 1.0 / self.rate
        if now - self.next < max(gap, _CREDIT):  # else nobody waited for it
            self._climb(min(gap, _LONGEST_STEP))
        else:
            self._since += now - self.next - gap
        self.next = max(self.next, now - _CREDIT) + 1.0 / self.rate

    def forget(self, now: float) -> None:
        """Let what passed long ago count less."""
        if now - self._since > 2 * _RECENT:
            self.passed, self._since = self.passed / 2, (self._since + now) / 2
            self._taken += self.passed

    def _climb(self, seconds: float) -> None:
        if self._aim == math.inf:
            self.rate *= 2.0 ** (seconds / _DOUBLES_IN)
            return
        self._climbed += seconds
        away = self._climbed - self._climb_to_aim
        self.rate = max(self.rate, self._aim * (1.0 + _CURVE * away**_POWER))
        if away >= 0.0:
            self._cuts, self._taken = 0, 0.0

    def refused(self, started: float, rate: float, now: float) -> None:
        """The server has refused a request that started at that time and at that rate."""
        if started <= self._cut_at:
            return  # an episode that is known
        first = rate == math.inf
        if not (self.passed or first):
            return  # a server that takes nothing, whatever the pace
        passed = max(self.passed, 1) / max(now - self._since, 1.0)
        by_chance = self._may_be_chance(rate)
        self._taken += self.passed
        self.passed, self._since, self._cut_at = 0.0, now, now
        if first:
            self.rate = max(passed, _SLOWEST)
        elif by_chance:
            self._step_back(rate)
        else:
            self._cut(rate, passed)
        self.next = now + 1.0 / self.rate

    def _may_be_chance(self, rate: float) -> bool:
        """True for a lone refusal at a pace that nothing is known against."""
        expected = self._aim <= rate < self._aim / _NEAR
        again = _NEAR * rate < self._doubted < rate / _NEAR
        return self._aim < math.inf and self.passed >= _LONE and not (expected or again)

    def _step_back(self, rate: float) -> None:
        self._doubted = rate
        self.rate = max(_STEP_BACK * rate, _SLOWEST)
        self._climbed = self._climb_to_aim + _time_to(self.rate / self._aim)

    def _cut(self, rate: float, passed: float) -> None:
        borne = rate if self._aim == math.inf else passed
        self.rate = max(min(borne, _STEP_BACK * rate), _CUT * rate, _SLOWEST)
        self._aim = max(_AIM * rate, _SLOWEST)
        self._cuts += 1
        self._doubted = 0.0
        self._climbed = 0.0
        self._climb_to_aim = -_time_to(self.rate / self._aim)


def _time_to(share: float) -> float:
    """Seconds from the aim to such a share of it, along the curve."""
    away = (share - 1.0) / _CURVE
    return math.copysign(abs(away) ** (1 / _POWER), away)

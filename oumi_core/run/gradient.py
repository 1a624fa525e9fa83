"""Whether more requests at once bring more answers a second, from a server that never refuses."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Gradient"]

_LEAST = 8.0
"""No fewer requests at once than this are tried out."""

_SUSPECT = 2.0
_FORGETS = 1.05
"""Answers that take so many times as long as at best raise the question: twice as many times after
each time that no fewer requests were enough, for asking costs answers. The best is taken to be so
much longer with each look, so that rows that grow longer by and by do not raise it."""

_ENOUGH = 0.95
"""Half the requests at once are enough if they bring so much of the answers a second."""

_SETTLED = 2
_TIMED = 4
"""How many times as many answers as requests at once are let pass by, because they began under
other conditions, and are then timed."""

_USED = 0.75
"""With less of the requests at once than this in flight, it is not them that was tried out."""

_HELD = 50
"""Looks of one round of answers each, after which a server may have grown, and is asked anew."""


class Gradient:
    """Finds how few requests at once keep a server busy that queues all others silently.

    Such a server refuses nothing: with more requests at once answers only take longer, until they
    time out. But one that works on many at once takes longer, too, and gets more done. So long
    answers only raise the question. Then answers are timed: with as many requests at once as there
    are, with half of them, and with half again, for as long as half bring as many answers a second.
    Where they do not, all is as it was before.

    Attributes:
        holds: True while nobody else may change the number of requests at once.
    """

    def __init__(self, now: float) -> None:
        """Begin without an idea of how long answers take."""
        self.holds = self._deciding = self._settled = False
        self._held = 0
        self._suspect_from = _SUSPECT
        self._shortest = _UNKNOWN
        self._first = self._enough = self._tried = _LEAST
        self._all: float | None = None
        self._look(now, _LEAST)

    def _look(self, now: float, answers: float) -> None:
        """Look at the next so many answers."""
        self._since = self._at = now
        self._wanted = max(answers, _LEAST)
        self._answers = 0
        self._area = self._waited = 0.0

    def started(self, now: float, others: int) -> None:
        """A request starts while so many others are in flight."""
        self._area += others * (now - self._at)
        self._at = now

    def left(self, now: float, in_flight: int) -> float | None:
        """One of so many requests in flight has ended; how many may be now, if that changes."""
        self._area += in_flight * (now - self._at)
        self._at = now
        return self.abandon(now) if in_flight == 1 else None  # who knows when the next one comes

    def answered(self, started: float, now: float, in_flight: int) -> float | None:
        """As `left`, for one that was answered and had started at that time."""
        # As `left`; another call would cost every row 0.1 us.
        self._area += in_flight * (now - self._at)
        self._at = now
        self._answers += 1
        self._waited += now - started
        if in_flight == 1:
            return self.abandon(now)
        if self._answers < self._wanted or now == self._since:
            return None
        at_once = self._area / (now - self._since)
        times = _Times(self._waited / self._answers, self._area / self._answers)
        if not self._deciding:
            return self._watch(now, at_once, times)
        if not self._settled:
            self._settled = True
            self._look(now, _TIMED * self._tried)
            return None
        if at_once < _USED * self._tried:
            return self.abandon(now)
        return self._compare(now, at_once / times.mean)

    def abandon(self, now: float) -> float | None:
        """Forget what was seen, for things have changed; how many at once are known to do."""
        enough = self._enough if self._deciding else None
        self.holds = self._deciding = False
        self._shortest = _UNKNOWN
        self._look(now, _LEAST)
        return enough

    def _watch(self, now: float, at_once: float, times: _Times) -> float | None:
        if at_once >= 2 * _LEAST and times.exceed(self._shortest, self._suspect_from):
            self.holds = self._deciding = True
            self._all = None
            self._first = self._enough = at_once
            return self._try(now, at_once)
        self._shortest = self._shortest.or_shorter(times)
        self._held += self.holds
        if self._held == _HELD:
            self.holds, self._held = False, 0
        self._look(now, at_once)
        return None

    def _try(self, now: float, at_once: float) -> float:
        self._tried = at_once
        self._settled = False
        self._look(now, _SETTLED * at_once)
        return at_once

    def _compare(self, now: float, rate: float) -> float:
        if self._all is None:
            self._all = rate
            return self._try(now, self._tried / 2)
        if rate >= _ENOUGH * self._all:
            self._enough = self._tried
            if self._tried >= 2 * _LEAST:
                return self._try(now, self._tried / 2)
        self._deciding = False
        self._held = 0
        self.holds = self._enough < self._first
        self._suspect_from = _SUSPECT if self.holds else 2 * self._suspect_from
        self._shortest = _Times(*[self._enough / self._all] * 2)
        self._look(now, self._enough)
        return self._enough


class _Times(NamedTuple):
    """How long answers take, in two ways that are wrong in different cases.

    While the number of requests grows, the mean of those that have ended lacks the long ones that
    have not. By Little's law it is the requests at once over the answers a second: but where
    answers come in waves, it depends on where in a wave one began to count.
    """

    mean: float
    by_little: float

    def exceed(self, shortest: _Times, times: float) -> bool:
        return all(mine > times * best for mine, best in zip(self, shortest, strict=True))

    def or_shorter(self, other: _Times) -> _Times:
        mean, by_little = (
            min(mine * _FORGETS, others) for mine, others in zip(self, other, strict=True)
        )
        return _Times(mean, by_little)


_UNKNOWN = _Times(math.inf, math.inf)

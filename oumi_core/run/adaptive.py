"""What a server bears, learned from its answers: requests at once, and requests a second."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from oumi_core.run.chance import Chance
from oumi_core.run.gradient import Gradient
from oumi_core.run.pace import Pace
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from oumi_core.types.failure import Failure

__all__ = ["Adaptive"]

_FIRST_CONCURRENCY = 8.0
_CUT = 0.7


class Adaptive:
    """The limits that nobody has stated.

    - **Concurrency** starts at 8 and doubles while all of it is used and answers come; it is cut to
      0.7 once per episode of rate limits and time-outs (only a request that started after the last
      cut makes another one), and from then on it is one more per round of answers.
    - **Gradient**: where fewer requests at once bring as many answers a second, the concurrency is
      what is enough (see `Gradient`), for servers that queue and never refuse.
    - **Pace** is as fast as can be until the server refuses more than it may by chance (see
      `Chance`), and then learned (see `Pace`). When requests wait for the pace and not for the
      concurrency, a rate limit cuts only the pace.

    Attributes:
        concurrency: how many requests there may be at once.
        pace: when the next one may start.
    """

    def __init__(self, now: float) -> None:
        """Begin without knowing anything; `now` is the caller's clock, in seconds."""
        self.concurrency = _FIRST_CONCURRENCY
        self.pace = Pace(now)
        self._gradient = Gradient(now)
        self._chance = Chance()
        self._weighed = 0.0
        self._others = 0
        self._cut_at = -math.inf

    def started(self, now: float, others: int) -> float:
        """A request starts beside so many others; the pace it does it at, in requests a second."""
        self._gradient.started(now, others)
        pace = self.pace
        rate = pace.rate
        if rate < math.inf:
            pace.started(now)
        return rate

    def answered(self, started: float, now: float, in_flight: int, *, held_back: bool) -> None:
        """One of so many requests was answered; `held_back` if others wait for it to end."""
        self.pace.passed += 1
        gradient = self._gradient
        found = gradient.answered(started, now, in_flight)
        if found is not None:
            self.concurrency = found
        elif held_back and not gradient.holds:
            # Else not all of it was used: nothing is known about more.
            never_cut = self._cut_at == -math.inf
            self.concurrency += 1.0 if never_cut else 1.0 / self.concurrency

    def left(self, now: float, in_flight: int) -> None:
        """One of so many requests has ended without an answer."""
        self._others = in_flight - 1
        found = self._gradient.left(now, in_flight)
        if found is not None:
            self.concurrency = found

    def failed(
        self, failure: Failure, started: float, rate: float | None, now: float, *, held_back: bool
    ) -> None:
        """A request has failed that started at this time and pace; None if it was not paced."""
        if failure.kind is FailureKind.TIMEOUT:
            self._cut(started, now)
        elif failure.kind is FailureKind.RATE_LIMIT:
            if rate is None:
                self._cut(started, now)
            elif self.pace.rate < math.inf or self._is_too_many(now):
                self.pace.refused(started, rate, now)
                if held_back and rate < math.inf:
                    self._cut(started, now)
                if self.pace.is_cut_in_vain:
                    self._begin_anew(now)

    def _begin_anew(self, now: float) -> None:
        """Forget the pace: it is not what the server refuses requests for."""
        self.pace = Pace(now)
        self._chance = Chance()
        self._weighed = 0.0
        # If it was the pace after all, few requests find that out.
        self.concurrency = min(self.concurrency, _FIRST_CONCURRENCY)
        self._cut_at = -math.inf
        self._gradient.abandon(now)

    def _is_too_many(self, now: float) -> bool:
        """One more was refused that started at once: are they more than may be by chance?"""
        answers = self.pace.passed - self._weighed
        self.pace.forget(now)
        self._weighed = self.pace.passed
        return self._chance.is_exceeded(answers, self._others)

    def _cut(self, started: float, now: float) -> None:
        if started > self._cut_at:
            self.concurrency = max(self.concurrency * _CUT, 1.0)
            self._cut_at = now
            self._gradient.abandon(now)

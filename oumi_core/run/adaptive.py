"""What a server bears, learned from its answers: requests at once, and requests a second."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

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
    - **Pace** is as fast as can be until a first rate limit, and then learned (see `Pace`). When
      requests wait for the pace and not for the concurrency, a rate limit cuts only the pace.

    Attributes:
        concurrency: how many requests there may be at once.
        pace: when the next one may start.
    """

    def __init__(self, now: float) -> None:
        """Begin without knowing anything; `now` is the caller's clock, in seconds."""
        self.concurrency = _FIRST_CONCURRENCY
        self.pace = Pace(now)
        self._cut_at = -math.inf

    def started(self, now: float) -> float:
        """A request starts; the pace at which it does, in requests a second."""
        pace = self.pace
        rate = pace.rate
        if rate < math.inf:
            pace.started(now)
        return rate

    def answered(self, *, held_back: bool) -> None:
        """A request was answered; `held_back` if others wait because so many are in flight."""
        self.pace.passed()
        if held_back:  # else not all of it was used: nothing is known about more
            never_cut = self._cut_at == -math.inf
            self.concurrency += 1.0 if never_cut else 1.0 / self.concurrency

    def failed(
        self, failure: Failure, started: float, rate: float | None, now: float, *, held_back: bool
    ) -> None:
        """A request has failed that started at this time and pace; None if it was not paced."""
        if failure.kind is FailureKind.TIMEOUT:
            self._cut(started, now)
        elif failure.kind is FailureKind.RATE_LIMIT:
            if rate is not None:
                self.pace.refused(started, rate, now)
            if rate is None or (held_back and rate < math.inf):
                self._cut(started, now)

    def _cut(self, started: float, now: float) -> None:
        if started > self._cut_at:
            self.concurrency = max(self.concurrency * _CUT, 1.0)
            self._cut_at = now

"""Limits over a sliding window: reserved before a request starts, settled when it has ended."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from oumi_core.configs import RemoteParams

__all__ = ["Limit", "Window", "limits_of"]

_MINUTE = 60.0


@attrs.frozen
class Limit:
    """At most `most` units in any `seconds`, the first ones included.

    Attributes:
        unit: what is counted: `requests`, `input_tokens` or `output_tokens`.
        most: how many.
        seconds: the window's length.
    """

    unit: str
    most: int
    seconds: float = _MINUTE


def limits_of(params: RemoteParams, num_workers: int) -> tuple[Limit, ...]:
    """The limits that a config asks for."""
    limits = [
        Limit(unit, most)
        for unit, most in (
            ("requests", params.requests_per_minute),
            ("input_tokens", params.input_tokens_per_minute),
            ("output_tokens", params.output_tokens_per_minute),
        )
        if most is not None
    ]
    if params.politeness_policy > 0:
        limits.append(Limit("requests", num_workers, params.politeness_policy))
    return tuple(limits)


@attrs.define
class Spent:
    """What one request counts for in a window; corrected when its real usage is known."""

    at: float
    amount: int
    counts: bool = True


class Window:
    """What was started in the last `seconds`.

    A window, not a bucket: a bucket that refills while it is spent lets nearly twice its size
    through in its first minute.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._spent: deque[Spent] = deque()
        self._sum = 0

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` more may start; 0 if it may now.

        An amount beyond the whole limit may start when nothing else is in the window.
        """
        self._forget(now)
        over = self._sum + min(amount, self.limit.most) - self.limit.most
        ready = now
        for spent in self._spent:
            if over <= 0:
                break
            over -= spent.amount
            ready = spent.at + self.limit.seconds
        return max(ready - now, 0.0)

    def reserve(self, amount: int, now: float) -> Spent:
        """Count `amount` from now on."""
        spent = Spent(now, amount)
        self._spent.append(spent)
        self._sum += amount
        return spent

    def settle(self, spent: Spent, amount: int) -> None:
        """Correct what a request counts for."""
        if spent.counts:
            self._sum += amount - spent.amount
        spent.amount = amount

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0].at + self.limit.seconds <= now:
            old = self._spent.popleft()
            old.counts = False
            self._sum -= old.amount

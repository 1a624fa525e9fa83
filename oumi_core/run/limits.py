"""Limits over a sliding window: reserved before a request starts, settled when it has ended."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oumi_core.configs import RemoteParams

__all__ = ["Limit", "Log", "Spent", "limits_of"]

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
    """What one request counts for; corrected when its real usage is known."""

    at: float
    amount: int


class Log:
    """What all requests to one server have counted for, of one unit; every limit asks the same one.

    It is kept for as long back as the longest limit looks.
    """

    def __init__(self) -> None:
        self._windows: dict[float, _Window] = {}

    @property
    def longest(self) -> float:
        """Seconds that it looks back."""
        return max(self._windows, default=0.0)

    def look_back(self, seconds: float) -> None:
        """Keep what was started in so many last seconds; begins with all that is known."""
        if seconds in self._windows:
            return
        known = self._windows.get(self.longest)
        spent, edge = ((), -math.inf) if known is None else (known.spent, known.edge)
        self._windows[seconds] = _Window(seconds, spent, edge)

    def ready(self, limit: Limit, amount: int, now: float) -> float:
        """The time from which `amount` more may start; one that has passed if they may now.

        An amount beyond the whole limit may start when nothing else is in the window. The log must
        `look_back` as far as the limit does.
        """
        return self._windows[limit.seconds].ready(amount, limit.most, now)

    def reserve(self, amount: int, now: float) -> Spent:
        """Count `amount` from now on."""
        spent = Spent(now, amount)
        for window in self._windows.values():
            window.add(spent)
        return spent

    def settle(self, spent: Spent, amount: int) -> None:
        """Correct what a request counts for."""
        for window in self._windows.values():
            window.correct(spent, amount - spent.amount)
        spent.amount = amount


class _Window:
    """What was started in the last `seconds`: all that was started after the time `edge`.

    A window, not a bucket: a bucket that refills while it is spent lets nearly twice its size
    through in its first minute.
    """

    def __init__(self, seconds: float, spent: Iterable[Spent], edge: float) -> None:
        self._seconds = seconds
        self.spent = deque(spent)
        self.edge = edge
        self._sum = sum(each.amount for each in self.spent)

    def ready(self, amount: int, most: int, now: float) -> float:
        self._forget(now)
        over = self._sum + min(amount, most) - most
        ready = now
        for spent in self.spent:
            if over <= 0:
                break
            over -= spent.amount
            ready = spent.at + self._seconds
        return ready

    def add(self, spent: Spent) -> None:
        self._forget(spent.at)
        self.spent.append(spent)
        self._sum += spent.amount

    def correct(self, spent: Spent, more: int) -> None:
        if spent.at > self.edge:
            self._sum += more

    def _forget(self, now: float) -> None:
        self.edge = max(self.edge, now - self._seconds)
        while self.spent and self.spent[0].at <= self.edge:
            self._sum -= self.spent.popleft().amount

"""Whether a server refuses more requests than it may by chance."""

from __future__ import annotations

__all__ = ["Chance"]

_BY_CHANCE = 0.2
"""The share of requests that may be refused by chance."""

_MOST_CREDIT = 2.0
"""Refusals that answers in a row make up for at most, beside those that were in flight: a server
with a limit takes as many as it has room for, and then refuses all that come."""

_TOO_MANY = 6.0
_HEAD_START = 2.0
"""Refusals beyond chance that are too many, and how many are taken for granted at first, when the
server has borne nothing yet. One that refuses a request in twenty by chance gets there once in some
hundred thousand requests, one in ten once in thousands; one with a limit in a round or two."""


class Chance:
    """Weighs refusals against answers, as a CUSUM chart does (Page 1954).

    The sum of refusals beyond what chance explains never falls below 0: so a few refusals in a row
    weigh more than as many among hundreds of answers, however long all went well.
    """

    def __init__(self) -> None:
        """Begin to weigh."""
        self._beyond = _HEAD_START
        self._to_come = 0.0

    def is_exceeded(self, answers: float, in_flight: int) -> bool:
        """Weigh a refusal that came after so many answers since the one before it.

        Those in flight count as answers to come: a refusal often needs less time than an answer.
        """
        credit = min(_BY_CHANCE * answers, _MOST_CREDIT + self._to_come)
        self._beyond = max(0.0, self._beyond - credit) + 1.0
        self._to_come = _BY_CHANCE * in_flight
        return self._beyond > _TOO_MANY + self._to_come

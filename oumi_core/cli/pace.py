"""How fast a run is of late, and how long it will take; for a bar and for machines."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from oumi_core.run.run import Run
    from oumi_core.types.result import Result

__all__ = ["Pace", "Rates"]

_SECONDS: Final = 20
"""Rates are those of the last so many seconds: a run that slows down must not look fast."""


@attrs.frozen
class Rates:
    """How fast a run is of late; rows that an earlier run had answered do not count.

    Attributes:
        rows: rows a second.
        tokens: generated tokens a second.
        eta: seconds to the end; None where the end or the speed is not known.
    """

    rows: float
    tokens: float
    eta: float | None


class Pace:
    """Counts what a run's summary does not: what was answered now, and when."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._answered = 0
        self._tokens = 0
        self._reused = 0
        self._samples = deque([(time.monotonic(), 0, 0)])

    def add(self, result: Result) -> None:
        """Count a result that was handed out."""
        if result.reused:
            self._reused += 1
            return
        self._answered += 1
        if result.usage is not None:
            self._tokens += result.usage.completion_tokens

    def rates(self) -> Rates:
        """The rates now. To be called from one thread, about once a second or more often."""
        now = time.monotonic()
        self._samples.append((now, self._answered, self._tokens))
        while now - self._samples[0][0] > _SECONDS:
            self._samples.popleft()
        then, answered, tokens = self._samples[0]
        span = max(now - then, 1e-9)
        rows = (self._answered - answered) / span
        total = self._run.total
        known = total is not None and rows > 0
        eta = ((total or 0) - self._run.summary().rows) / rows if known else None
        return Rates(rows, (self._tokens - tokens) / span, eta)

    def to_dict(self) -> dict[str, Any]:
        """How far the run is, as JSON-ready data."""
        summary, rates = self._run.summary(), self.rates()
        return {
            "rows": summary.rows,
            "total": self._run.total,
            "ok": summary.succeeded,
            "failed": {kind.value: count for kind, count in summary.failed.items()},
            "reused": self._reused,
            "in_flight": self._run.in_flight,
            "rows_per_second": round(rates.rows, 3),
            "tokens_per_second": round(rates.tokens, 3),
            "eta_seconds": None if rates.eta is None else round(rates.eta, 3),
            "elapsed": round(summary.seconds, 3),
        }

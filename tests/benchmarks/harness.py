"""What every measurement needs: interleaved repeats, medians, CPU time, and a line of the table.

The machine may be busy with other work. So both sides of a comparison take turns, the middle of
many repeats counts, and cost is CPU time, which waiting for a turn on a core does not add to.
"""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import time
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Figure", "Line", "Skipped", "child_cpu", "interleave", "process_cpu"]


class Skipped(Exception):
    """A measurement cannot be made here; its text says what is missing."""


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(values)


@attrs.frozen
class Figure:
    """One quantity, measured several times.

    Attributes:
        values: what each repeat gave, in the order of the rounds.
        unit: what the values count, such as `us`.
    """

    values: tuple[float, ...] = attrs.field(converter=_floats)
    unit: str

    @property
    def median(self) -> float:
        """The value in the middle."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles: half of all repeats lie about so near."""
        if len(self.values) == 1:
            return 0.0
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return (third - first) / 2

    def __sub__(self, other: Figure) -> Figure:
        """What this has more than `other`, round by round, so that a slow round counts in both."""
        pairs = zip(self.values, other.values, strict=True)
        return Figure([mine - others for mine, others in pairs], self.unit)

    def __truediv__(self, other: Figure) -> Figure:
        """How many times `other` this is, round by round."""
        pairs = zip(self.values, other.values, strict=True)
        return Figure([mine / others for mine, others in pairs], "x")

    def __str__(self) -> str:
        spread = f" ±{_short(self.spread)}" if len(self.values) > 1 else ""
        return f"{_short(self.median)}{spread} {self.unit}"


def _short(value: float) -> str:
    """Three digits, without an exponent."""
    for limit, digits in ((99.95, 0), (9.995, 1)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.2f}"


@attrs.frozen
class Line:
    """One line of the table.

    Attributes:
        what: what is measured.
        ours: what this package took.
        other: what the other side took, and its name; empty where there is none.
        compared: the number that is judged: a ratio, a difference, or `ours` itself.
        must: the limit that has to hold; None for a line that is there for scale.
        beyond: the limit that would be better than asked.
        more_is_better: True where the limits are lower bounds.
    """

    what: str
    ours: str
    other: str
    compared: Figure
    must: float | None = None
    beyond: float | None = None
    more_is_better: bool = False

    @property
    def verdict(self) -> str:
        """`beyond`, `must` or `MISSED`: the best limit that holds; empty without limits."""
        for name, limit in (("beyond", self.beyond), ("must", self.must)):
            if limit is not None and self._holds(limit):
                return name
        return "" if self.must is None else "MISSED"

    def _holds(self, limit: float) -> bool:
        value = self.compared.median
        return value >= limit if self.more_is_better else value <= limit


def interleave(
    sides: Mapping[str, Callable[[], float]], rounds: int, unit: str
) -> dict[str, Figure]:
    """Measure each side once a round, after a round that only warms up.

    Args:
        sides: name -> does the work once and gives its cost.
        rounds: how many rounds count.
        unit: the unit of the costs.
    """
    values: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, measure in sides.items():
            value = measure()
            if number:
                values[name].append(value)
    return {name: Figure(found, unit) for name, found in values.items()}


def process_cpu(work: Callable[[], object]) -> float:
    """The CPU seconds that `work` takes in this process, in all its threads."""
    gc.collect()  # what an earlier side left behind is not this side's
    started = time.process_time()
    work()
    return time.process_time() - started


def child_cpu(command: Sequence[str], folder: str) -> float:
    """The CPU seconds that a program takes, from its start to its end.

    Args:
        command: the program and its arguments; its output is thrown away.
        folder: where it runs and its bytecode is kept: an empty one, so that no import finds a
            checkout by chance. The round that warms up fills it, as an installation would be.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    # Not closed by `with`, which would wait for the child a second time.
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return usage.ru_utime + usage.ru_stime

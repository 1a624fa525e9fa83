"""This process and those that it has started, as Linux shows them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def processes(pid: int) -> Iterator[int]:
    """A process and all that it has started, directly or not."""
    yield pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield from processes(child)


def cpu_seconds() -> float:
    """CPU time of all of them, so far."""
    total = 0.0
    for pid in processes(os.getpid()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def megabytes() -> dict[str, float]:
    """The memory of each, by name and number, without what is a file's."""
    found: dict[str, float] = {}
    for pid in processes(os.getpid()):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        found[f"{status['Name'].strip()} {pid}"] = int(status["RssAnon"].split()[0]) / 1024
    return found

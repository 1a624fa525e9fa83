"""What the program `oumi` takes to list the engines that are installed."""

from __future__ import annotations

import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Line, Skipped, child_cpu, interleave

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15


def measure() -> Iterator[Line]:
    """CPU of the whole process, its output no terminal."""
    program = Path(sysconfig.get_path("scripts")) / "oumi"
    if not program.exists():
        raise Skipped(f"there is no {program.name} beside this interpreter; install oumi-core")
    with tempfile.TemporaryDirectory() as folder:
        took = interleave(
            {
                "oumi": lambda: 1000 * child_cpu([str(program), "engines"], folder),
                "bare": lambda: 1000 * child_cpu([sys.executable, "-c", "pass"], folder),
            },
            ROUNDS,
            "ms",
        )
    yield Line(
        "oumi engines, the whole process",
        str(took["oumi"]),
        f"{took['bare']}: python -c pass",
        took["oumi"],
        must=300,
        beyond=200,
    )

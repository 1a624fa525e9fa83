"""How memory grows with the rows of a run. Each figure is of a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, Line, Skipped
from measure_run import IN_FLIGHT, MODEL, drain, gathered, make_conversations

from oumi_core import get_engine
from oumi_core.engine import EngineConfig
from oumi_core.engines.echo import EchoEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

STATUS = Path("/proc/self/status")
MANY, FEW = 1_000_000, 10_000
BY_HAND = 100_000
"""Rows of the comparison with a loop by hand, which at a million takes gigabytes."""


def measure() -> Iterator[Line]:
    """The growth of a run through files, and of a loop by hand beside the same run."""
    if not STATUS.exists():
        raise Skipped(f"there is no {STATUS} to read the high-water mark from")
    with tempfile.TemporaryDirectory() as folder:
        growth = _of_child("files", MANY, folder) - _of_child("files", FEW, folder)
        yield Line(
            f"memory growth of a run of {MANY:,} rows, file to file",
            str(Figure([growth], "MB")),
            f"the same with {FEW:,} rows",
            Figure([growth], "MB"),
            must=64,
            beyond=32,
        )
        small = _of_child("lists", FEW, folder)
        ours = Figure([_of_child("lists", BY_HAND, folder) - small], "MB")
        theirs = Figure([_of_child("hand", BY_HAND, folder) - small], "MB")
        yield Line(
            f"memory growth of {BY_HAND:,} rows in a list, results dropped",
            str(ours),
            f"{theirs}: semaphore and gather",
            ours / theirs,
        )


def _of_child(way: str, rows: int, folder: str) -> float:
    done = subprocess.run(
        [sys.executable, __file__, way, str(rows), folder],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def _answer(way: str, rows: int, folder: str) -> None:
    if way == "hand":
        asyncio.run(gathered(EchoEngine(EngineConfig(MODEL)), make_conversations(rows)))
        return
    with get_engine("echo", model=MODEL.model_name, num_workers=IN_FLIGHT) as engine:
        if way == "lists":
            drain(engine.run(make_conversations(rows)))
            return
        source = Path(folder, f"{rows}.jsonl")
        with source.open("w") as file:
            for number in range(rows):
                text = f"What is {number} and {number}?"
                file.write(f'{{"messages":[{{"role":"user","content":"{text}"}}]}}\n')
        drain(engine.run(source, output_path=Path(folder, f"{rows}.out.jsonl")))


def _high_water() -> float:
    """Megabytes that this process has held at most.

    Not `getrusage`: what that says begins with what the parent held when it started this.
    """
    [line] = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    _answer(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    print(_high_water())  # noqa: T201 - read by the process that started this

"""A loop whose clock jumps, so that waits take no real time; a real run, to be killed."""

from __future__ import annotations

import asyncio
import selectors
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class JumpingSelector(selectors.DefaultSelector):
    """Where it would wait until a time, it makes it that time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if not events and timeout:
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that lives in its selector's time."""

    def __init__(self) -> None:
        self.selector = JumpingSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now


@pytest.fixture
def virtual() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Runs a coroutine to its end in virtual time."""

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(coroutine)

    return run


@attrs.frozen
class ThousandRows:
    """The program `thousand_rows.py` and its files, in a folder; its log may be in another."""

    folder: Path
    log_folder: Path = attrs.field(default=attrs.Factory(lambda self: self.folder, takes_self=True))

    @property
    def out(self) -> Path:
        return self.folder / "out.jsonl"

    @property
    def log(self) -> Path:
        """The names of the rows that were sent, one a line."""
        return self.log_folder / "log"

    @property
    def trace(self) -> Path:
        """What strace wrote: the calls that were asked for, in their order."""
        return self.folder / "trace"

    def command(self, workers: int = 16) -> list[str]:
        program = Path(__file__).parent / "thousand_rows.py"
        return [sys.executable, str(program), str(self.out), str(self.log), str(workers)]

    def run(self, workers: int = 16) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        return subprocess.run(self.command(workers), capture_output=True, text=True, check=False)

    def injected(self, fault: str, *files: Path, workers: int = 16) -> Any:
        """Run it under strace, with a fault in its calls for these files: `rename:signal=KILL`.

        What it writes into the log is in the trace too, unless the fault is in `write` itself.
        """
        calls = fault.partition(":")[0]
        watched = files if "write" in calls.split(",") else (*files, self.log)
        return subprocess.run(
            [
                *("strace", "-f", "-y", "-o", self.trace, "-e", f"trace={calls},write"),
                *(word for file in watched for word in ("-P", file)),
                *("-e", f"inject={fault}", *self.command(workers)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def sent(self) -> list[str]:
        """The rows that were sent, over all runs."""
        return self.log.read_text().split()


@pytest.fixture
def thousand(tmp_path: Path) -> ThousandRows:
    """A thousand rows to run, in a real process."""
    return ThousandRows(tmp_path)

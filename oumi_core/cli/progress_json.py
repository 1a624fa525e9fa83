"""The progress of a run for machines: one JSON object a second on standard error."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Self

from oumi_core.cli.console import write_event

if TYPE_CHECKING:
    from oumi_core.cli.pace import Pace

__all__ = ["JsonProgress"]

_SECONDS: Final = 1.0


class JsonProgress:
    """Writes how far a run is once a second, from a thread of its own; and once at the end.

    Attributes:
        stopping: True once the run was asked to stop.
    """

    def __init__(self, pace: Pace) -> None:
        self.stopping = False
        self._pace = pace
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="oumi-progress", daemon=True)

    def _write_on(self) -> None:
        while not self._ended.wait(_SECONDS):
            self._write("stopping" if self.stopping else "running")

    def _write(self, state: str) -> None:
        write_event("progress", state=state, **self._pace.to_dict())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._write("ended")

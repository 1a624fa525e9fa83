"""Cuts what takes too long, with one timer for all.

`asyncio.timeout_at` would cost each row a timer of its own: 3 us, and a row costs 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Deadlines"]

_NEVER = float("inf")


class Deadlines:
    """When the tasks of one loop are to be cut; times are seconds of that loop's clock."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Task[object], float] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = _NEVER

    def set(self, task: asyncio.Task[object], due: float) -> None:
        """Cancel the running task `task` at `due`, unless it is `cleared` before."""
        self._due[task] = due
        if due < self._alarm_at:
            self._set_alarm(task.get_loop(), due)

    def clear(self, task: asyncio.Task[object]) -> bool:
        """Let the running task `task` live; True if it was cut, and by nobody else.

        One that was cut and finds True has to end what it was at; its cancellation is taken back.
        """
        if self._due.pop(task, None) is not None:
            return False
        return task.uncancel() == 0

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = due
        self._alarm = loop.call_at(due, self._cut, loop)

    def _cut(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is overdue.

        A task whose deadline was cleared leaves the alarm as it is: it is set for the oldest one
        of long ago, and finds nothing to do.
        """
        self._alarm, self._alarm_at = None, _NEVER
        now = loop.time()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            task.cancel()
        first = min(self._due.values(), default=_NEVER)
        if first < _NEVER:
            self._set_alarm(loop, first)

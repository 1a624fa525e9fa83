"""The worker of a local queue as a process: one a queue, started on demand."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from oumi_core.errors import RunStopped
from oumi_core.file_lock import file_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["DISK_REFUSED", "LOG", "ensure_worker", "only_worker"]

_LOCK: Final = "worker.lock"
LOG: Final = "worker.log"
"""What a worker says that nobody listens to; in the queue's folder."""
DISK_REFUSED: Final = os.EX_IOERR
"""The exit code of a worker that the disk has stopped: a full one takes no other word of it."""


def only_worker(queue: Path) -> AbstractContextManager[bool]:
    """Be the queue's worker; False if there is one already."""
    return file_lock(queue / _LOCK)


def ensure_worker(queue: Path, engine: str, check: Callable[[], object] | None = None) -> None:
    """Start the queue's worker, if there is none. It outlives this process.

    It has this process's environment: what the engine reads there (a key, a cache) must be set
    where it is started.

    Args:
        queue: the queue's folder.
        engine: the engine's name.
        check: called before one is started; raises if one that this process starts would fail.

    Raises:
        RunStopped: the disk has refused what the last one wrote that this process started.
    """
    started = _started.get(queue)
    if started is not None and started.waiting.is_alive():
        return
    with only_worker(queue) as free:
        pass
    if free:
        if started is not None and started.process.returncode == DISK_REFUSED:
            del _started[queue]  # who asks again may have mended it
            raise RunStopped(
                f"the disk of {queue} refused what the worker wrote; what was finished before is "
                f"kept: mend the disk and run the same again (the worker's log: {queue / LOG})"
            )
        if check is not None:
            check()
        _started[queue] = _start(queue, engine)


class _Started(NamedTuple):
    process: subprocess.Popen[bytes]
    waiting: threading.Thread
    """Ends when the process does, whose exit code is known then."""


_started: dict[Path, _Started] = {}
"""The workers that this process has started."""


def _start(queue: Path, engine: str) -> _Started:
    log = os.open(queue / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter, with a program of ours
            [sys.executable, "-P", "-m", "oumi_core.batch_worker", str(queue), engine],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C at the terminal is not for it
        )
    finally:
        os.close(log)
    waiting = threading.Thread(target=process.wait, name="oumi-worker-end", daemon=True)
    waiting.start()
    return _Started(process, waiting)

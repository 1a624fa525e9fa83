"""The worker of a local queue as a process: one a queue, started on demand."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LOG", "ensure_worker", "only_worker"]

_LOCK: Final = "worker.lock"
LOG: Final = "worker.log"
"""What a worker says that nobody listens to; in the queue's folder."""


@contextlib.contextmanager
def only_worker(queue: Path) -> Iterator[bool]:
    """Be the queue's worker; False if there is one already."""
    file = os.open(queue / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)


def ensure_worker(queue: Path, engine: str) -> None:
    """Start the queue's worker, if there is none. It outlives this process.

    It has this process's environment: what the engine reads there (a key, a cache) must be set
    where batches are submitted.
    """
    started = _started.get(queue)
    if started is not None and started.is_alive():
        return
    with only_worker(queue) as free:
        pass
    if free:
        _started[queue] = _start(queue, engine)


_started: dict[Path, threading.Thread] = {}
"""The workers that this process has started: each with a thread that waits for its end."""


def _start(queue: Path, engine: str) -> threading.Thread:
    log = os.open(queue / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter, with a program of ours
            [sys.executable, "-m", "oumi_core.batch_worker", str(queue), engine],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C at the terminal is not for it
        )
    finally:
        os.close(log)
    waiting = threading.Thread(target=process.wait, name="oumi-worker-end", daemon=True)
    waiting.start()
    return waiting

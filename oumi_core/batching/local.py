"""`local`: a durable queue on this machine, for any engine.

A folder a queue, one queue an engine; in it a folder a job, named by its token. A job appears in
one piece. A worker process of its own runs the jobs of a queue, one after another, each as a run
with a journal: so it can be killed at any moment and goes on where it was.

    input.jsonl      the rows, each with its custom id
    job.json         the config, without a secret, and the folder that relative paths start from
    results.jsonl    what is finished; .partial while the worker writes it
    progress.json    how far the run is
    starts.json      how often a worker has begun it without getting further
    cancel           somebody asked for it to be stopped
    end.json         it is at its end: how, and why
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from oumi_core.batching.backend import BatchBackend, Batching
from oumi_core.batching.checks import check_engine
from oumi_core.batching.local_job import JobFolder
from oumi_core.batching.stored_config import write_config
from oumi_core.batching.worker_process import ensure_worker
from oumi_core.errors import EngineError, RunStopped
from oumi_core.registry import ENGINE, find
from oumi_core.state_folder import make_private
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from oumi_core.batching.backend import BatchJob, Part
    from oumi_core.batching.status import PartStatus
    from oumi_core.guided.constraint import Constraint
    from oumi_core.wire.batch import BatchLine

__all__ = ["LocalBatching", "LocalQueue"]

_GROUP = 256
"""Lines that are read at once."""


class LocalBatching(Batching):
    """Hands out the queue of the engine."""

    elsewhere: ClassVar[bool] = True

    @asynccontextmanager
    async def opened(self, job: BatchJob) -> AsyncIterator[BatchBackend]:
        """The queue."""
        yield LocalQueue(job)


class LocalQueue(BatchBackend):
    """Puts parts into a queue and looks at them there; whoever looks has a worker started."""

    poll_seconds: ClassVar[tuple[float, float]] = (0.2, 2.0)

    def __init__(self, job: BatchJob) -> None:
        self._job = job
        self._queue = job.folder / quote(job.engine, safe="")

    async def submit(self, part: Part, uploaded: str | None) -> str:  # noqa: ARG002 - nothing was
        """Put a part into the queue, and see to it that a worker runs.

        Raises:
            RunStopped: the disk refuses.
        """
        try:
            await asyncio.to_thread(self._put, part)
        except OSError as error:
            raise _refused(self._queue, error) from error
        return part.token

    def _put(self, part: Part) -> None:
        make_private(self._queue)
        job = JobFolder(self._queue / part.token)
        if not job.path.exists():
            fields = {"batch_id": part.batch_id, "folder": os.fspath(Path.cwd())}
            job.create(part.path, part.requests, write_config(self._job.config), fields)
        ensure_worker(self._queue, self._job.engine)

    async def status(self, handle: str) -> PartStatus:
        """Where a part stands; starts a worker if it is not at its end and there is none.

        Raises:
            ConfigError: there is none, and one that this process starts would lack something, such
                as the variable with the key.
        """
        return await asyncio.to_thread(self._look, handle)

    def _look(self, handle: str) -> PartStatus:
        job = JobFolder(self._queue / handle)
        if not job.path.is_dir():
            raise EngineError(Failure(FailureKind.NOT_FOUND, f"its folder {job.path} is gone"))
        status = job.status()
        if not status.is_terminal:
            # To end what was cancelled, a worker needs no engine.
            check = None if job.cancel_asked() else self._check
            ensure_worker(self._queue, self._job.engine, check)
        return status

    def _check(self) -> None:
        """Refuse to start a worker that would fail every row for a variable not set here."""
        check_engine(find(ENGINE, self._job.engine), self._job.config)

    async def results(
        self,
        part: PartStatus,
        constraint: Constraint | None,  # noqa: ARG002 - a run checks it
    ) -> AsyncGenerator[BatchLine, None]:
        """What is finished."""
        lines = JobFolder(self._queue / part.handle).finished_lines()
        with contextlib.closing(lines):
            while group := await asyncio.to_thread(_some, lines):
                for line in group:
                    yield line

    async def cancel(self, handle: str) -> None:
        """Ask the worker to stop it."""
        await asyncio.to_thread(JobFolder(self._queue / handle).ask_to_cancel)
        await asyncio.to_thread(ensure_worker, self._queue, self._job.engine)

    async def list(self) -> AsyncGenerator[PartStatus, None]:
        """All parts in the queue, the newest first."""
        for job in await asyncio.to_thread(JobFolder.all_in, self._queue):
            yield await asyncio.to_thread(job.status)

    async def forget(self, handle: str) -> None:
        """Remove a part's folder."""
        await asyncio.to_thread(JobFolder(self._queue / handle).remove)


def _some(lines: Iterator[BatchLine]) -> list[BatchLine]:
    return list(itertools.islice(lines, _GROUP))


def _refused(queue: Path, error: OSError) -> RunStopped:
    return RunStopped(
        f"the disk of {queue} refused: {error.strerror}; mend it and run the same again"
    )

"""The worker of a local queue: `python -m oumi_core.batch_worker QUEUE ENGINE`.

Runs the jobs of the queue, one after another, the oldest first; ends when there was none for a
while (`OUMI_BATCH_IDLE_SECONDS`, default 30). It can be killed at any moment: whoever next looks at
a batch of the queue has another one started, which goes on from the journal. SIGTERM lets what is
in flight finish first. A disk that refuses ends it with `DISK_REFUSED`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from oumi_core.batching.local_job import JobFolder, result_line
from oumi_core.batching.salvage import salvage
from oumi_core.batching.status import BatchError, BatchStatus, RequestCounts
from oumi_core.batching.worker_process import DISK_REFUSED, LOG, only_worker
from oumi_core.disk import DISK_REFUSALS
from oumi_core.errors import ConfigError, OumiError, PluginError, RunStopped
from oumi_core.inference import InferenceEngine
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oumi_core.configs import InferenceConfig
    from oumi_core.run.run import Run
    from oumi_core.types.conversation import Conversation

__all__ = ["main"]

_IDLE_VARIABLE: Final = "OUMI_BATCH_IDLE_SECONDS"
_IDLE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.2
_MOST_STARTS: Final = 5
"""A job that takes its worker down with it (no memory, a driver) is not tried for ever."""

_CHANCES: Final = 10
"""So often the lock is tried: whoever asks whether there is a worker holds it for a moment."""


class _Worker:
    """Works on one queue.

    Args:
        queue: the queue's folder.
        engine: the engine's name.
    """

    def __init__(self, queue: Path, engine: str) -> None:
        self._queue = queue
        self._name = engine
        self._log = queue / LOG
        self._engine: InferenceEngine | None = None
        self._run: Run | None = None
        self._stopping = False

    def stop(self, *_: object) -> None:
        """Let what is in flight finish, and end."""
        self._stopping = True
        if self._run is not None:
            self._run.stop()

    def work(self) -> None:
        """Run jobs until there is none for a while."""
        idle_since = time.monotonic()
        while not self._stopping:
            job = self.next_job()
            if job is not None:
                self._answer(job)
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > _idle_seconds():
                return
            else:
                time.sleep(_LOOK_SECONDS)

    def next_job(self) -> JobFolder | None:
        """The oldest job that is not at its end; None if there is none."""
        waiting = [job for job in JobFolder.all_in(self._queue) if not job.is_ended()]
        return waiting[-1] if waiting else None

    def close(self) -> None:
        """Free the engine."""
        if self._engine is not None:
            self._engine.close()

    def _answer(self, job: JobFolder) -> None:
        if job.cancel_asked():
            self._end_early(job, BatchStatus.CANCELLED)
        elif job.fruitless_starts() >= _MOST_STARTS:
            why = f"the worker died {_MOST_STARTS} times without another answer; see {self._log}"
            self._end_early(job, BatchStatus.FAILED, BatchError(why))
        else:
            try:
                self._answer_all(job)
            except OumiError as error:
                if _is_of_the_disk(error):
                    raise
                self._end_early(job, BatchStatus.FAILED, _error(error))
            finally:
                self._run = None

    def _end_early(
        self, job: JobFolder, status: BatchStatus, error: BatchError | None = None
    ) -> None:
        """End a job with all that its journal has."""
        kind = FailureKind.CANCELED if error is None else FailureKind.MISSING
        why = "the batch was cancelled" if error is None else f"the batch failed: {error.message}"
        errors = () if error is None else (error,)
        try:
            counts = salvage(job, self._name, Failure(kind, f"{why}, before this row was done"))
        except (ConfigError, PluginError):  # there is no such engine any more: what was written
            counts = RequestCounts(job.fields()["requests"])
        job.end(status, counts, errors)

    def _answer_all(self, job: JobFolder) -> None:
        with contextlib.suppress(OSError):  # gone by now: only relative paths needed it
            os.chdir(job.fields()["folder"])
        config = job.config()
        ids: dict[int, str] = {}
        engine = self._engine_for(config)
        run = engine.run(_noting(job, ids), output_path=job.output_path, inference_config=config)
        self._run = run
        with run, job.open_results() as results, _watched(job, run):
            for result in run:
                results.write(result_line(ids.pop(result.index), result))
                results.flush()
            os.fsync(results.fileno())
        stopped, summary = run.stopped(), run.summary()
        if stopped is None:
            failed = summary.rows - summary.succeeded
            job.end(BatchStatus.COMPLETED, RequestCounts(summary.rows, summary.succeeded, failed))
        elif stopped.failure is not None:
            self._end_early(job, BatchStatus.FAILED, _error(stopped))
        elif job.cancel_asked():
            self._end_early(job, BatchStatus.CANCELLED)
        # Else this process was told to end, and another one goes on with the job.

    def _engine_for(self, config: InferenceConfig) -> InferenceEngine:
        """The engine of the last job, if it is the same; else that is freed first."""
        wanted = attrs.evolve(config, progress_path=None, generation=None)
        if self._engine is None or self._engine.config != wanted:
            self.close()
            self._engine = InferenceEngine(self._name, wanted)
        return self._engine


def _noting(job: JobFolder, ids: dict[int, str]) -> Iterator[Conversation]:
    for index, (custom_id, conversation) in enumerate(job.rows()):
        ids[index] = custom_id
        yield conversation


@contextlib.contextmanager
def _watched(job: JobFolder, run: Run) -> Iterator[None]:
    """Stop the run when somebody asks for it."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_LOOK_SECONDS):
            if job.cancel_asked():
                run.stop()
                return

    watching = threading.Thread(target=watch, name="oumi-cancel", daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()


def _error(error: OumiError) -> BatchError:
    failure = getattr(error, "failure", None)
    return BatchError(str(error), None if failure is None else failure.kind.value)


def _is_of_the_disk(error: Exception) -> bool:
    """True if the disk refused, so that the job goes on when that is mended."""
    if isinstance(error, RunStopped):
        return error.failure is None
    return isinstance(error, OSError) and error.errno in DISK_REFUSALS


def _idle_seconds() -> float:
    return float(os.environ.get(_IDLE_VARIABLE, _IDLE_SECONDS))


def main(queue: Path, engine: str) -> None:
    """Work on a queue, unless another worker does."""
    worker = _Worker(queue, engine)
    signal.signal(signal.SIGTERM, worker.stop)
    try:
        while _had_its_turn(worker, queue) and worker.next_job() is not None:
            pass  # a job came between the last look and the end of the turn
    except (OSError, RunStopped) as error:
        if not _is_of_the_disk(error):
            raise
        with contextlib.suppress(OSError):
            traceback.print_exception(error)
        job = worker.next_job()
        if job is not None:
            job.excuse_start()
        sys.exit(DISK_REFUSED)
    finally:
        worker.close()


def _had_its_turn(worker: _Worker, queue: Path) -> bool:
    for _ in range(_CHANCES):
        with only_worker(queue) as free:
            if free:
                worker.work()
                return True
        time.sleep(_LOOK_SECONDS)
    return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

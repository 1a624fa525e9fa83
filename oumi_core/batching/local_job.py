"""The folder of one job of a local queue: what stands in it, and what that means."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import IO, TYPE_CHECKING, Any, Final

import attrs
import msgspec

from oumi_core.batching.outcome import read_outcome, write_outcome
from oumi_core.batching.status import (
    BatchError,
    BatchStatus,
    PartStatus,
    RequestCounts,
    as_status,
)
from oumi_core.batching.stored_config import read_config
from oumi_core.types.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from pathlib import Path

    from oumi_core.configs import InferenceConfig
    from oumi_core.types.result import Result
    from oumi_core.wire.batch import BatchLine

__all__ = ["JobFolder", "result_line"]

_NEW: Final = ".new-"
_GONE: Final = ".gone-"


@attrs.frozen
class JobFolder:
    """A job of a local queue. Its methods block.

    Attributes:
        path: the folder; its name is the job's token.
    """

    path: Path

    @classmethod
    def all_in(cls, queue: Path) -> list[JobFolder]:
        """All jobs of a queue, the newest first."""
        if not queue.is_dir():
            return []
        created: dict[Path, float] = {}
        for path in queue.iterdir():
            # Others stand beside the jobs, and a job may be forgotten meanwhile.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                created[path] = cls(path).created_at
        jobs = [cls(path) for path in created if not path.name.startswith(".")]
        return sorted(jobs, key=lambda job: created[job.path], reverse=True)

    # Who puts it into the queue.

    def create(self, lines: Path, requests: int, config: bytes, fields: Mapping[str, Any]) -> None:
        """Put a job into its queue, in one step.

        Args:
            lines: the file of its rows, which is linked, or copied from another disk.
            requests: how many rows there are.
            config: its config, as `write_config` wrote it.
            fields: what else it needs.
        """
        new = self.path.with_name(f"{_NEW}{self.path.name}")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        try:
            os.link(lines, new / "input.jsonl")
        except OSError:
            shutil.copyfile(lines, new / "input.jsonl")
        job = {**fields, "requests": requests, "config": json.loads(config)}
        _write(new / "job.json", job)
        new.rename(self.path)

    def ask_to_cancel(self) -> None:
        """Ask for it to be stopped; does nothing if it is at its end."""
        if self.path.is_dir() and self._end() is None:
            (self.path / "cancel").touch(0o600)

    def remove(self) -> None:
        """Take a job out of its queue: in one step, for without its end it would run again."""
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(self.path.with_name(f"{_GONE}{self.path.name}"))
        for gone in self.path.parent.glob(f"{_GONE}*"):  # also what a process that died left
            shutil.rmtree(gone, ignore_errors=True)

    # Who looks at it.

    @property
    def created_at(self) -> float:
        """When it was put into the queue."""
        return (self.path / "job.json").stat().st_mtime

    def is_ended(self) -> bool:
        """True if it is at its end."""
        return self._end() is not None

    def cancel_asked(self) -> bool:
        """True if somebody asked for it to be stopped."""
        return (self.path / "cancel").exists()

    def status(self) -> PartStatus:
        """Where it stands."""
        end = self._end()
        if end is not None:
            return PartStatus(
                self.path.name,
                as_status(end["status"]),
                RequestCounts(**end["counts"]),
                tuple(BatchError(**error) for error in end["errors"]),
                self.path.name,
                self.created_at,
            )
        progress = _read(self.path / "progress.json")
        total = self.fields()["requests"]
        if progress is None:
            status, counts = BatchStatus.VALIDATING, RequestCounts(total)
        else:
            status = BatchStatus.IN_PROGRESS
            counts = RequestCounts(total, progress["completed"], progress["failed"])
        if self.cancel_asked():
            status = BatchStatus.CANCELLING
        token = self.path.name
        return PartStatus(token, status, counts, token=token, created_at=self.created_at)

    def finished_lines(self) -> Generator[BatchLine, None, None]:
        """The results that are there, up to the last whole line."""
        for name in ("results.jsonl", "results.jsonl.partial"):
            try:
                file = (self.path / name).open("rb")
            except FileNotFoundError:
                continue
            with file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield _one_of_both(read_outcome(line))
            return

    # Who runs it.

    def fields(self) -> dict[str, Any]:
        """What it was put into the queue with."""
        fields: dict[str, Any] = json.loads((self.path / "job.json").read_bytes())
        return fields

    def config(self) -> InferenceConfig:
        """Its config, with its progress written where `status` looks for it.

        Raises:
            ConfigError: it was written by another version.
        """
        config = read_config(msgspec.json.encode(self.fields()["config"]))
        return attrs.evolve(config, progress_path=str(self.path / "progress.json"))

    @property
    def output_path(self) -> str:
        """Where its run keeps its journal."""
        return str(self.path / "answers.jsonl")

    def rows(self) -> Iterator[tuple[str, Conversation]]:
        """Its rows, each with its custom id."""
        with (self.path / "input.jsonl").open("rb") as file:
            for line in file:
                data = msgspec.json.decode(line)
                yield data["custom_id"], Conversation.from_dict(data["conversation"])

    def fruitless_starts(self) -> int:
        """Note that a worker begins; how many before it have died in a row without a new result."""
        path = self.path / "starts.json"
        last = _read(path) or {"lines": -1, "starts": 0}
        lines = sum(1 for _ in self.finished_lines())
        starts = last["starts"] if lines <= last["lines"] else 0
        _write(path, {"lines": max(lines, last["lines"]), "starts": starts + 1})
        return int(starts)

    def excuse_start(self) -> None:
        """Do not count the worker that began it last, nor those before: it did not die of it."""
        (self.path / "starts.json").unlink(missing_ok=True)

    def open_results(self) -> IO[bytes]:
        """The file for its results; those of a worker that died come again from the journal."""
        path = self.path / "results.jsonl.partial"
        path.touch(0o600)
        return path.open("wb")

    def end(
        self,
        status: BatchStatus,
        counts: RequestCounts,
        errors: tuple[BatchError, ...] = (),
    ) -> None:
        """Say that it is at its end, and drop what only the run needed."""
        partial = self.path / "results.jsonl.partial"
        if partial.exists():
            partial.replace(self.path / "results.jsonl")
        end = {
            "status": str(status),
            "counts": attrs.asdict(counts),
            "errors": [error.to_dict() for error in errors],
        }
        _write(self.path / "end.json", end)
        for path in self.path.glob("answers.jsonl*"):
            path.unlink()

    def _end(self) -> dict[str, Any] | None:
        return _read(self.path / "end.json")


def result_line(custom_id: str, result: Result) -> bytes:
    """A result as a line of the results file."""
    return write_outcome(result.completion, result.error, custom_id) + b"\n"


def _one_of_both(line: BatchLine) -> BatchLine:
    """An answer that was not accepted as an answer: who reads it checks it, too."""
    return line if line.completion is None else attrs.evolve(line, failure=None)


def _write(path: Path, fields: Mapping[str, Any]) -> None:
    """Write a JSON file: whole, or not at all, also after a power cut."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.touch(0o600)
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(fields, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        fields: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return fields

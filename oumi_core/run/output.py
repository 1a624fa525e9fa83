"""The output file: one line a good row, in input order, complete or not there at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from oumi_core.data.jsonl import conversation_line
from oumi_core.errors import ConfigError, RunStopped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import RawIOBase

    from oumi_core.types.result import Result

__all__ = ["OutputFile"]

_BUFFER = 1 << 16
"""Bytes that are gathered before they are written, off the loop."""


class OutputFile:
    """Writes results in input order while they come in any order.

    Good rows go to `path`, failed ones to `<path>.failed.jsonl`: the row as it came, with a field
    `failure`. Both are written under temporary names and renamed when the run has ended, so that
    a file of an earlier run stays whole until then. Rows that ended before an earlier one did
    are held; not more than `window` of them, after that the workers wait for the earlier one.
    """

    def __init__(self, path: str, *, window: int) -> None:
        """Open the temporary files.

        Raises:
            ConfigError: the path cannot be written.
        """
        self.path = Path(path)
        self.failed_path = Path(f"{path}.failed.jsonl")
        self.partial_path = Path(f"{path}.partial")
        self._window = window
        self._held: dict[int, Result] = {}
        self._next_index = 0
        self._moved = asyncio.Event()
        self._writing = asyncio.Lock()
        self._good, self._bad = bytearray(), bytearray()
        self._refused = False
        self._file = self._open()
        self._failed_file: RawIOBase | None = None

    def _open(self) -> RawIOBase:
        try:
            if self.path.is_dir():
                raise IsADirectoryError(None, "it is a folder")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self.partial_path.open("wb", buffering=0)
        except OSError as error:
            raise ConfigError(
                f"output_path: cannot write {self.path}: {error.strerror}; choose another path"
            ) from error

    async def add(self, result: Result) -> None:
        """Take a result; returns when there is room for the worker's next one.

        Raises:
            RunStopped: the disk refused a write.
        """
        self._held[result.index] = result
        if result.index == self._next_index:
            for ready in self._in_order():
                self._encode(ready)
            self._moved.set()
            if len(self._good) + len(self._bad) > _BUFFER:
                await self._write()
        while len(self._held) > self._window:
            self._moved.clear()
            await self._moved.wait()

    def _in_order(self) -> Iterator[Result]:
        while (result := self._held.pop(self._next_index, None)) is not None:
            self._next_index += 1
            yield result

    def _encode(self, result: Result) -> None:
        if result.error is None:
            self._good += conversation_line(result.conversation)
            return
        row = result.conversation
        failure = {**result.error.to_dict(), "index": result.index, "attempts": result.attempts}
        marked = type(row)(
            row.messages,
            row.conversation_id,
            row.metadata,
            row.tools,
            {**row.extra, "failure": failure},
        )
        self._bad += conversation_line(marked)

    async def _write(self) -> None:
        async with self._writing:
            good, self._good = self._good, bytearray()
            bad, self._bad = self._bad, bytearray()
            write = asyncio.ensure_future(asyncio.to_thread(self._write_now, good, bad))
            try:
                await asyncio.shield(write)
            except asyncio.CancelledError:
                await write  # a thread cannot be canceled, and the files are closed after this
                raise

    def _write_now(self, good: bytearray, bad: bytearray) -> None:
        if self._refused:
            return  # rows after those that are missing would hide the gap
        self._refused = True
        with _disk(self.path):
            _write_whole(self._file, good)
            if bad and self._failed_file is None:
                self._failed_file = self._open_failed()
            if self._failed_file is not None:
                _write_whole(self._failed_file, bad)
        self._refused = False

    def _open_failed(self) -> RawIOBase:
        return Path(f"{self.failed_path}.partial").open("wb", buffering=0)

    async def finish(self) -> None:
        """Write what is held and give both files their names; the run has seen every row.

        Raises:
            RunStopped: the disk refused.
        """
        await self._flush()
        await asyncio.to_thread(self._name)

    async def keep_partial(self) -> None:
        """Write what is held and leave the files under their temporary names; the run was cut."""
        await self._flush()
        await asyncio.to_thread(self.close)

    async def _flush(self) -> None:
        for index in sorted(self._held):
            self._encode(self._held.pop(index))
        await self._write()

    def _name(self) -> None:
        with _disk(self.path):
            for file in (self._file, self._failed_file):
                if file is not None:
                    os.fsync(file.fileno())
            self.close()
            self.partial_path.replace(self.path)
            if self._failed_file is not None:
                Path(f"{self.failed_path}.partial").replace(self.failed_path)
            else:
                self.failed_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files as they are."""
        self._file.close()
        if self._failed_file is not None:
            self._failed_file.close()


def _write_whole(file: RawIOBase, lines: bytearray) -> None:
    """Write all of `lines` or, if the disk refuses, none of them: no line is left torn."""
    start = file.tell()
    rest = memoryview(lines)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(start)
        file.seek(start)
        raise


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunStopped(
            f"the disk of {path} refused a write: {error.strerror}; "
            "make room there and run the same again"
        ) from error

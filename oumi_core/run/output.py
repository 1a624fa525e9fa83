"""The output files: projections of the journal, whole or not there at all."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from oumi_core.data.jsonl import conversation_line
from oumi_core.errors import RunStopped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oumi_core.run.journal import Journal
    from oumi_core.types.result import Result

__all__ = ["failed_path", "line_of", "temporary_path", "write_outputs", "write_whole"]


def failed_path(output_path: str) -> Path:
    """Where the rows of `output_path` that failed are written: beside the file itself.

    Where `output_path` is a symbolic link, the file is what it leads to.
    """
    target = os.path.realpath(output_path) if Path(output_path).is_symlink() else output_path
    return Path(f"{target}.failed.jsonl")


def temporary_path(path: Path) -> Path:
    """Where a file is written before it takes its place at `path`."""
    return Path(f"{path}.tmp")


def line_of(result: Result) -> bytes:
    """A result's line: the conversation with its reply, or the row as it came with its failure."""
    if result.error is None:
        return conversation_line(result.conversation)
    row = result.conversation
    failure = {**result.error.to_dict(), "index": result.index, "attempts": result.attempts}
    extra = {**row.extra, "failure": failure}
    marked = type(row)(row.messages, row.conversation_id, row.metadata, row.tools, extra)
    return conversation_line(marked)


def write_outputs(journal: Journal, output_path: str) -> None:
    """Write the good rows to `output_path` and the failed ones beside it, in input order. Blocks.

    Each is written under another name and renamed, so that a reader sees the file of an earlier
    run or this one's, and never half of one.

    Raises:
        RunStopped: the disk refused; the journal has all rows still.
    """
    try:
        # Closed whatever happens: lines that were not all taken hold the journal.
        with closing(journal.lines(ok=True)) as lines:
            write_whole(lines, Path(output_path), keep_empty=True)
        with closing(journal.lines(ok=False)) as lines:
            write_whole(lines, failed_path(output_path), keep_empty=False)
    except OSError as error:
        raise RunStopped(
            f"the disk of {output_path} refused a write: {error.strerror}; all answers are kept in "
            f"{journal.path}: make room and run the same again"
        ) from error


def write_whole(lines: Iterable[bytes], path: Path, *, keep_empty: bool) -> None:
    """Write a file under another name, and give it its own when it is whole and on disk. Blocks.

    Args:
        lines: what to write.
        path: the file.
        keep_empty: write it also if there is nothing to write; else it is removed.

    Raises:
        OSError: the disk refused.
    """
    temporary = temporary_path(path)
    try:
        empty = not _written(lines, temporary)
    except OSError:
        with suppress(OSError):
            temporary.unlink()  # the room on the disk is needed
        raise
    if empty and not keep_empty:
        temporary.unlink()
        path.unlink(missing_ok=True)
    else:
        temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename, too, must be there after a power cut
    finally:
        os.close(folder)


def _written(lines: Iterable[bytes], path: Path) -> int:
    """Write a file that is there after a power cut; its size."""
    with path.open("wb") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
        return file.tell()

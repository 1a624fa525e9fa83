"""Writing a new batch to disk, and the files of what is sent again."""

from __future__ import annotations

import filecmp
import os
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from oumi_core.batching.manifest import (
    DATABASE,
    ROWS,
    created_database,
    explained,
    insert_facts,
    insert_parts,
    insert_spans,
)
from oumi_core.batching.outcome import Outcome, write_outcome
from oumi_core.data.jsonl import conversation_line
from oumi_core.errors import ConfigError, DataError
from oumi_core.types.conversation import Conversation
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from oumi_core.batching.building import Builder
    from oumi_core.batching.manifest import Manifest
    from oumi_core.batching.records import Facts

__all__ = ["rebuild", "same_rows", "write_batch"]

_BUFFER: Final = 1 << 20
_UNWRITABLE: Final = (ValueError, TypeError, AttributeError, RecursionError)
"""What writing a value as JSON may raise that JSON has no form for; a row of another type, too."""


def write_batch(
    folder: Path,
    facts: Facts,
    builder: Builder,
    rows: Iterable[Conversation] | AsyncIterable[Conversation],
    given_up: threading.Event,
) -> Facts:
    """Write rows to part files and a manifest in a new folder. Blocks.

    Args:
        folder: the folder; nobody else may know it yet.
        facts: what the batch is.
        builder: writes the part files.
        rows: the rows.
        given_up: set by who does not want it any more.

    Returns:
        What the batch is, with the number of rows.

    Raises:
        DataError: the input is faulty, or has no rows.
        RunStopped: the disk refuses.
    """
    if isinstance(rows, AsyncIterable):
        raise ConfigError("a batch takes conversations that need not be awaited, or a file of them")
    with explained(folder):
        try:
            count, refused = _write_rows(folder / ROWS, builder, _guarded(rows, given_up))
            parts, spans = builder.finish()
        finally:
            builder.close()
        if not count:
            raise DataError("the input has no rows; a batch needs at least one")
        facts = attrs.evolve(facts, rows=count)
        database = created_database(folder)
        try:
            insert_facts(database, facts)
            insert_parts(database, parts)
            insert_spans(database, spans)
            database.executemany("INSERT INTO result VALUES (?, NULL, ?, ?)", refused)
        finally:
            database.close()
        with (folder / DATABASE).open("rb") as file:
            os.fsync(file.fileno())
    return facts


def _write_rows(
    path: Path, builder: Builder, rows: Iterable[Conversation]
) -> tuple[int, list[tuple[int, str, bytes]]]:
    """Write each row as it is, and as a request; how many, and the results of those refused."""
    refused = []
    count = 0
    path.touch(0o600)
    with path.open("wb", buffering=_BUFFER) as file:
        for place, conversation in enumerate(rows):
            failure: Failure | None
            try:
                file.write(conversation_line(conversation))
            except _UNWRITABLE as error:
                file.write(_NO_ROW)
                failure = _unwritable(error)
            else:
                failure = builder.add(place, conversation)
            if failure is not None:
                record = write_outcome(None, failure)
                refused.append((place, Outcome.FAILED.value, record))
            count = place + 1
        file.flush()
        os.fsync(file.fileno())
    return count, refused


_NO_ROW: Final = msgspec.json.encode({"messages": []}) + b"\n"
"""Keeps the place of a row that cannot be written."""


def _unwritable(error: Exception) -> Failure:
    fault = error.faults[0] if isinstance(error, DataError) else type(error).__name__
    return Failure(FailureKind.BAD_REQUEST, f"the row cannot be written as JSON: {fault}")


def _guarded(rows: Iterable[Conversation], given_up: threading.Event) -> Iterator[Conversation]:
    """The rows; an error that a disk could raise, too, is not taken for one of ours."""
    try:
        for row in rows:
            if given_up.is_set():
                raise DataError("the submission was given up")
            yield row
    except OSError as error:
        raise DataError(f"the input raised {type(error).__name__}: {error.strerror}") from error


def same_rows(one: Path, other: Path) -> bool:
    """True if the batches of two folders ask the same, in the same order. Blocks."""
    return filecmp.cmp(one / ROWS, other / ROWS, shallow=False)


def rebuild(manifest: Manifest, builder: Builder) -> None:
    """Write the rows of a batch that have no accepted answer to new parts. Blocks.

    Raises:
        RunStopped: the disk refuses; nothing has changed.
    """
    try:
        with explained(manifest.folder):
            for place, row in manifest.unanswered():
                builder.add(place, Conversation.from_json(row))
            parts, spans = builder.finish()
    finally:
        builder.close()
    manifest.add_round(parts, spans)

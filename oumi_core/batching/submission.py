"""Writing a new batch to disk, and the files of what is sent again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

import attrs

from oumi_core.batching.manifest import (
    DATABASE,
    created_database,
    explained,
    insert_facts,
    insert_parts,
)
from oumi_core.errors import ConfigError, DataError
from oumi_core.run.keys import DIGEST_BYTES
from oumi_core.types.conversation import Conversation
from oumi_core.types.failure import Failure

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from oumi_core.batching.building import Builder
    from oumi_core.batching.manifest import Facts, Manifest

__all__ = ["rebuild", "write_batch"]


def write_batch(
    folder: Path,
    facts: Facts,
    builder: Builder,
    rows: Iterable[Conversation] | AsyncIterable[Conversation],
    given_up: threading.Event,
) -> str:
    """Write rows to part files and a manifest in a new folder. Blocks.

    Args:
        folder: the folder; nobody else may know it yet.
        facts: what the batch is.
        builder: writes the part files.
        rows: the rows.
        given_up: set by who does not want it any more.

    Returns:
        A digest of all that is asked, of whom, in which order.

    Raises:
        DataError: the input is faulty, or has no rows.
        RunStopped: the disk refuses.
    """
    if isinstance(rows, AsyncIterable):
        raise ConfigError("a batch takes conversations that need not be awaited, or a file of them")
    with explained(folder):
        database = created_database(folder)
        try:
            built = builder.build(_guarded(rows, given_up), database)
            if not built.rows:
                raise DataError("the input has no rows; a batch needs at least one")
            content = hashlib.blake2b(built.content, digest_size=DIGEST_BYTES)
            content.update(f"{facts.engine}\0{facts.batching}\0".encode())
            content.update(facts.config)
            database.execute("BEGIN")
            insert_facts(database, attrs.evolve(facts, content=content.hexdigest()))
            insert_parts(database, built.parts)
            database.execute("COMMIT")
        finally:
            builder.close()
            database.close()
        with (folder / DATABASE).open("rb") as file:
            os.fsync(file.fileno())
    return content.hexdigest()


def _guarded(rows: Iterable[Conversation], given_up: threading.Event) -> Iterator[Conversation]:
    """The rows; an error that a disk could raise, too, is not taken for one of ours."""
    try:
        for row in rows:
            if given_up.is_set():
                raise DataError("the submission was given up")
            yield row
    except OSError as error:
        raise DataError(f"the input raised {type(error).__name__}: {error.strerror}") from error


def rebuild(manifest: Manifest, builder: Builder) -> int:
    """Write the rows of a batch that have no accepted answer to new parts. Blocks.

    Returns:
        How many rows will be sent.

    Raises:
        RunStopped: the disk refuses; nothing has changed.
    """
    lines: list[tuple[int, int, int]] = []
    try:
        with explained(manifest.folder):
            for place, digest, row in manifest.unanswered():
                added = builder.add(place, digest, Conversation.from_json(row))
                if not isinstance(added, Failure):
                    lines.append((place, *added))
            parts = builder.finish()
    finally:
        builder.close()
    manifest.add_round(parts, lines)
    return len(lines)

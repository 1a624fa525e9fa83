"""A file that says how far a run is, for whoever watches from outside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from oumi_core.errors import ConfigError
from oumi_core.run.output import temporary_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Progress", "reported"]

_SECONDS: Final = 1.0
"""Between two writes; only what has changed is written."""

_log = logging.getLogger(__name__)


@attrs.frozen
class Progress:
    """How far a run is.

    Attributes:
        total: the rows of the input; None where that is not known.
        completed: rows with an accepted answer, those of earlier runs included.
        failed: rows that failed.
    """

    total: int | None
    completed: int
    failed: int


@contextlib.asynccontextmanager
async def reported(path: str | None, progress: Callable[[], Progress]) -> AsyncIterator[None]:
    """Keep the file at `path` up to date until the context ends, and once more at its end.

    It is JSON (`total`, `completed`, `failed`, and `updated_at` in ISO 8601), written beside and
    renamed, so that a reader never sees half of it. A write that fails later is logged once and
    harms nothing else.

    Raises:
        ConfigError: it cannot be written at all.
    """
    if path is None:
        yield
        return
    target = Path(path)
    try:
        await asyncio.to_thread(_write, target, progress())
    except OSError as error:
        raise ConfigError(
            f"progress_path: cannot write {path}: {error.strerror}; choose another path"
        ) from error
    ended = asyncio.Event()
    task = asyncio.create_task(_keep_up(target, progress, ended))
    try:
        yield
    finally:
        ended.set()
        await asyncio.wait([task])


async def _keep_up(path: Path, progress: Callable[[], Progress], ended: asyncio.Event) -> None:
    written = None
    while not ended.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                await ended.wait()
        now = progress()
        if now == written:
            continue
        if not await asyncio.to_thread(_try_to_write, path, now):
            return
        written = now


def _try_to_write(path: Path, progress: Progress) -> bool:
    try:
        _write(path, progress)
    except OSError as error:
        _log.warning("progress_path: cannot write %s any more: %s", path, error.strerror)
        return False
    return True


def _write(path: Path, progress: Progress) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {**attrs.asdict(progress), "updated_at": datetime.now(UTC).isoformat()}
    temporary = temporary_path(path)
    temporary.write_text(json.dumps(fields) + "\n", encoding="utf-8")
    temporary.replace(path)

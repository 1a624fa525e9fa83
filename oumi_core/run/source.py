"""Where a run's rows come from: any iterable, or a file that is checked before it is read."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from oumi_core.data.jsonl import check_conversations, read_conversations
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from oumi_core.types.conversation import Conversation

__all__ = ["Source"]


@attrs.frozen
class Source:
    """Rows to come.

    Attributes:
        rows: the conversations, if they are not in a file.
        path: the file, as it was given; None if they are not.
        place: the same, absolute since then: a later change of the working directory does not
            move it.
    """

    rows: Iterable[Conversation] | AsyncIterable[Conversation] = ()
    path: Path | None = None
    place: Path | None = None

    @classmethod
    def of(
        cls,
        given: Iterable[Conversation] | AsyncIterable[Conversation] | str | os.PathLike[str] | None,
    ) -> Source:
        """What a caller gave as input.

        Raises:
            ConfigError: nothing was given.
        """
        if given is None:
            raise ConfigError("input_path: missing; give conversations or a file of them")
        if isinstance(given, str | os.PathLike):
            path = Path(given)
            return cls(path=path, place=path.absolute())
        return cls(given)

    async def open(self) -> tuple[Iterable[Conversation] | AsyncIterable[Conversation], int | None]:
        """The rows, and how many there are where that is known.

        Raises:
            DataError: the file has faults; all of them, before the first row is handed out. What
                can be read only once, such as a pipe, is not looked at here: the rows raise it.
        """
        if self.path is not None and self.place is not None:
            total = await asyncio.to_thread(_check, self.path, self.place)
            return read_conversations(self.place), total
        return self.rows, len(self.rows) if isinstance(self.rows, list | tuple) else None


def _check(path: Path, place: Path) -> int | None:
    """Count the rows of a file; None for what can be read only once.

    Raises:
        DataError: the file has faults; all of them.
    """
    if place.exists() and not (place.is_file() or place.is_dir()):
        return None
    # Faults name the file as its user did, unless that has come to be the name of another one.
    return check_conversations(path if path.absolute() == place else place)

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
        path: the file; None if they are not.
    """

    rows: Iterable[Conversation] | AsyncIterable[Conversation] = ()
    path: Path | None = None

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
            return cls(path=Path(given))
        return cls(given)

    def check_apart_from(self, output_path: str) -> None:
        """Refuse an output that would overwrite the input.

        Raises:
            ConfigError: they are the same file.
        """
        if self.path is not None and self.path.resolve() == Path(output_path).resolve():
            raise ConfigError(f"output_path: {output_path} is the input; choose another path")

    async def open(self) -> tuple[Iterable[Conversation] | AsyncIterable[Conversation], int | None]:
        """The rows, and how many there are where that is known.

        Raises:
            DataError: the file has faults; all of them, before the first row is handed out.
        """
        if self.path is not None:
            total = await asyncio.to_thread(check_conversations, self.path)
            return read_conversations(self.path), total
        return self.rows, len(self.rows) if isinstance(self.rows, list | tuple) else None

"""The rows of a run as its workers see them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from oumi_core.types.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from oumi_core.run.row import Row
    from oumi_core.types.completion import Usage
    from oumi_core.types.result import Result

__all__ = ["PlainRows", "Rows"]

T = TypeVar("T")


class Rows(ABC, Generic[T]):
    """The rows of a run: what each asks, what is known of it, and where its result is kept.

    Attributes:
        keeps: False if nothing is known of any row and no result is kept, so that neither need be
            asked for: two calls a row, one of them a coroutine.
    """

    keeps: ClassVar[bool] = True

    @abstractmethod
    def prepared(self) -> Iterable[T] | AsyncIterable[T]:
        """The rows for the feed, each with what is needed to serve it."""

    @abstractmethod
    def conversation(self, row: T) -> Conversation:
        """What a row asks."""

    @abstractmethod
    def known(self, row: T, judge: Row) -> Result | None:
        """The result that a row has already, as `judge` sees it; None if it is to be sent."""

    @abstractmethod
    async def keep(self, row: T, result: Result, assumed: Usage | None = None) -> Result:
        """Make sure that a result is not lost, before it is handed out: as it was kept.

        Args:
            row: as the feed gave it.
            result: its outcome.
            assumed: the most that its answers took whose tokens nobody counted.
        """


class PlainRows(Rows[Conversation]):
    """Rows as they come: nothing is known of them, and nothing is kept."""

    keeps: ClassVar[bool] = False

    def __init__(self, rows: Iterable[Conversation] | AsyncIterable[Conversation]) -> None:
        self._rows = rows

    def prepared(self) -> Iterable[Conversation] | AsyncIterable[Conversation]:
        """The rows themselves."""
        return self._rows

    def conversation(self, row: Conversation) -> Conversation:
        """The row itself."""
        return row

    def known(self, row: Conversation, judge: Row) -> Result | None:  # noqa: ARG002 - of none
        """None."""
        return None

    async def keep(
        self,
        row: Conversation,  # noqa: ARG002 - needs no row
        result: Result,
        assumed: Usage | None = None,  # noqa: ARG002 - nothing is kept
    ) -> Result:
        """The result as it is: whoever takes it keeps it."""
        return result

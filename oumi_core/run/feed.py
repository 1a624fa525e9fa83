"""Reads the rows of an input, only a little ahead of the workers.

The input may block (a file, a generator that asks a database), so it is pulled in another thread,
as many rows as come within a few milliseconds: a thread switch a row would cost more than a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Feed"]

T = TypeVar("T")

_ROWS = 512
_SECONDS = 0.005
"""A pull ends after so many rows, or with the first row after so many seconds."""


class Feed(Generic[T]):
    """The rows of an input with their indices.

    Memory holds at most one pull of rows. An exception of the input ends the feed; `raise_error`
    raises it, once.
    """

    def __init__(self, rows: Iterable[T] | AsyncIterable[T]) -> None:
        self._in_memory = isinstance(rows, list | tuple)
        self._rows: Iterator[T] | AsyncIterator[T] = (
            rows.__aiter__() if isinstance(rows, AsyncIterable) else iter(rows)
        )
        self._ready: deque[T] = deque()
        self._next_index = 0
        self._exhausted = False
        self._error: Exception | None = None

    @property
    def ended(self) -> bool:
        """True if every row has been handed out."""
        return self._exhausted and not self._ready

    @property
    def ready(self) -> int:
        """How many rows can be had without a pull."""
        return len(self._ready)

    def next(self) -> tuple[int, T] | None:
        """A row and its index, from 0; None if there is none ready."""
        if not self._ready:
            if not self._in_memory or self._exhausted:
                return None
            self._pull_some(self._rows)  # type: ignore[arg-type]  # in memory: no async iterator
            if not self._ready:
                return None
        index = self._next_index
        self._next_index = index + 1
        return index, self._ready.popleft()

    async def pull(self) -> None:
        """Make some rows ready, at least one unless the input has ended."""
        rows = self._rows
        if isinstance(rows, AsyncIterator):
            await self._pull_one(rows)
        else:
            await asyncio.to_thread(self._pull_some, rows)

    async def _pull_one(self, rows: AsyncIterator[T]) -> None:
        try:
            self._ready.append(await anext(rows))
        except StopAsyncIteration:
            self._exhausted = True
        except Exception as error:  # noqa: BLE001 - the input's own error: see `raise_error`
            self._exhausted, self._error = True, error

    def _pull_some(self, rows: Iterator[T]) -> None:
        until = time.monotonic() + _SECONDS
        try:
            for row in rows:
                self._ready.append(row)
                if len(self._ready) >= _ROWS or time.monotonic() > until:
                    return
            self._exhausted = True
        except Exception as error:  # noqa: BLE001 - the input's own error: see `raise_error`
            self._exhausted, self._error = True, error

    def raise_error(self) -> None:
        """Raise what the input raised, if it did; to one caller only."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Close the input if it is a generator."""
        close = getattr(self._rows, "close", None)
        if close is not None:
            # A generator that another thread still waits in cannot be closed; it goes with it.
            with contextlib.suppress(ValueError):
                close()

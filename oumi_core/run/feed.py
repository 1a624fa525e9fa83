"""Hands the rows of an input to the workers, one at a time, reading only a little ahead.

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

_ROWS = 128
_SECONDS = 0.005
"""A pull ends after so many rows, or with the first row after so many seconds."""


class Feed(Generic[T]):
    """The rows of an input with their indices, for any number of workers on one loop.

    Memory holds at most one pull of rows that no worker has taken. An exception of the input is
    raised to the worker that meets it, after all rows before it were handed out.
    """

    def __init__(self, rows: Iterable[T] | AsyncIterable[T]) -> None:
        self._in_memory = isinstance(rows, list | tuple)
        self._rows: Iterator[T] | AsyncIterator[T] = (
            rows.__aiter__() if isinstance(rows, AsyncIterable) else iter(rows)
        )
        self._ready: deque[T] = deque()
        self._next_index = 0
        self._ended = False
        self._stopped = False
        self._error: Exception | None = None
        self._pulling = asyncio.Lock()

    async def take(self) -> tuple[int, T] | None:
        """The next row and its index, from 0; None when there are no more."""
        while not self._ready and not self._stopped:
            if self._ended:
                self._raise_error()
                return None
            async with self._pulling:
                if not self._ready and not self._ended:
                    await self._pull()
        if self._stopped:
            return None
        index = self._next_index
        self._next_index = index + 1
        return index, self._ready.popleft()

    def stop(self) -> None:
        """Hand out no more rows. Any thread may call it."""
        self._stopped = True

    def close(self) -> None:
        """Hand out no more rows, and close the input if it is a generator."""
        self._stopped = True
        close = getattr(self._rows, "close", None)
        if close is not None:
            # A generator that another thread still waits in cannot be closed; it goes with it.
            with contextlib.suppress(ValueError):
                close()

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    async def _pull(self) -> None:
        rows = self._rows
        if isinstance(rows, AsyncIterator):
            await self._pull_one(rows)
        elif self._in_memory:
            self._pull_some(rows)
        else:
            await asyncio.to_thread(self._pull_some, rows)

    async def _pull_one(self, rows: AsyncIterator[T]) -> None:
        try:
            self._ready.append(await anext(rows))
        except StopAsyncIteration:
            self._ended = True
        except Exception as error:  # noqa: BLE001 - the input's own error, raised by `take`
            self._ended, self._error = True, error

    def _pull_some(self, rows: Iterator[T]) -> None:
        until = time.monotonic() + _SECONDS
        try:
            for row in rows:
                self._ready.append(row)
                if len(self._ready) >= _ROWS or time.monotonic() > until:
                    return
            self._ended = True
        except Exception as error:  # noqa: BLE001 - the input's own error, raised by `take`
            self._ended, self._error = True, error

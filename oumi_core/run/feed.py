"""Reads the rows of an input, only a little ahead of the workers.

The input may block (a file, a generator that asks a database), so each feed pulls it in a thread of
its own, as many rows as come within a few milliseconds: a thread switch a row would cost more than
a row. An input that is awaited is pulled in the loop that its owner lives in.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Generic, TypeVar

from oumi_core.errors import DataError

__all__ = ["Feed"]

T = TypeVar("T")

_ROWS = 512
_SECONDS = 0.005
"""A pull ends after so many rows, or with the first row after so many seconds."""


class Feed(Generic[T]):
    """The rows of an input with their indices.

    Memory holds at most one pull of rows. An exception of the input ends the feed; `raise_error`
    raises it, once.

    Args:
        rows: the input.
        home: the loop in which an awaited input is pulled; None for the loop of the feed.
    """

    def __init__(
        self,
        rows: Iterable[T] | AsyncIterable[T],
        home: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._rows: Iterator[T] | AsyncIterator[T]
        self._in_memory: Iterator[T] | None = None
        if isinstance(rows, AsyncIterable):
            self._rows = rows.__aiter__()
        else:
            self._rows = iter(rows)
            # Of these, not of their subclasses, it is known that they neither block nor raise.
            if type(rows) in {list, tuple}:
                self._in_memory = self._rows
        self._home = home
        self._reader: _Reader | None = None
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
            if self._in_memory is None:
                return None
            self._ready.extend(itertools.islice(self._in_memory, _ROWS))
            if not self._ready:
                self._exhausted = True
                return None
        index = self._next_index
        self._next_index = index + 1
        return index, self._ready.popleft()

    async def pull(self, came: Callable[[], object]) -> None:
        """Make some rows ready, at least one unless the input has ended.

        Calls `came` on the loop as soon as there is one where there was none: who writes the
        input may be waiting for its answer before there is a second.
        """
        if isinstance(self._rows, AsyncIterator):
            await self._pull_one(self._rows)
            return
        loop = asyncio.get_running_loop()
        if self._reader is None:
            self._reader = _Reader()
        done = loop.create_future()
        self._reader.ask(
            lambda: self._pull_some(lambda: loop.call_soon_threadsafe(came)),
            lambda: _tell(loop, done),
        )
        await done

    async def _pull_one(self, rows: AsyncIterator[T]) -> None:
        try:
            self._ready.append(await self._at_home(anext(rows)))
        except StopAsyncIteration:
            self._exhausted = True
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._end_by(error)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the input's own
            self._end_by(error)

    async def _at_home(self, awaitable: object) -> T:
        async def wait() -> T:
            return await awaitable  # type: ignore[misc, no-any-return]  # an awaitable of a row

        home = self._home
        if home is None or home is asyncio.get_running_loop():
            return await wait()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(wait(), home))

    def _pull_some(self, came: Callable[[], object]) -> None:
        rows = self._rows
        assert isinstance(rows, Iterator)  # noqa: S101 - an awaited input is pulled elsewhere
        until = time.monotonic() + _SECONDS
        try:
            for row in rows:
                self._ready.append(row)
                if len(self._ready) == 1:
                    came()
                if len(self._ready) >= _ROWS or time.monotonic() > until:
                    return
            self._exhausted = True
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the input's own
            self._end_by(error)

    def _end_by(self, error: BaseException) -> None:
        """Keep what the input raised; what would end a program or a task becomes a fault of it."""
        if not isinstance(error, Exception):
            fault = DataError(f"the input raised {type(error).__name__}")
            fault.__cause__ = error
            error = fault
        self._exhausted, self._error = True, error

    def raise_error(self) -> None:
        """Raise what the input raised, if it did; to one caller only."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def close(self) -> None:
        """Close the input if it is a generator; one that still waits for a row is left alone."""
        rows = self._rows
        if isinstance(rows, AsyncIterator):
            aclose = getattr(rows, "aclose", None)
            if aclose is not None:
                # It may be in the middle of a row, or its loop may have gone.
                with contextlib.suppress(RuntimeError):
                    await self._at_home(aclose())
        elif self._reader is not None:
            self._reader.end(getattr(rows, "close", _nobody))


class _Reader:
    """A thread that does one thing after another, and keeps no program from ending."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[Callable[[], object], Callable[[], object]] | None]
        self._asked = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="oumi-input", daemon=True).start()

    def ask(self, what: Callable[[], object], then: Callable[[], object]) -> None:
        self._asked.put((what, then))

    def end(self, last: Callable[[], object]) -> None:
        self._asked.put((last, _nobody))
        self._asked.put(None)

    def _serve(self) -> None:
        while (asked := self._asked.get()) is not None:
            what, then = asked
            what()
            then()


def _nobody() -> None:
    """Tells nobody."""


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    def settle() -> None:
        if not done.done():
            done.set_result(None)

    with contextlib.suppress(RuntimeError):  # the loop has ended while the input made it wait
        loop.call_soon_threadsafe(settle)

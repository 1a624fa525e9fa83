"""Carries items from a coroutine on the private loop to a consumer in another thread or loop.

Items go over in batches: the producer wakes the consumer once per turn of its loop, not once per
item, and the consumer takes all there is. Handing them over one at a time would cost a thread
switch (10 to 50 us) an item.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from oumi_core.loop import Job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["Bridge", "Put"]

T = TypeVar("T")

Put: TypeAlias = "Callable[[T], Awaitable[None] | None]"
"""Takes an item; returns what to await before the next one, if anything."""


class Bridge(Generic[T]):
    """An iterator, blocking and awaitable, over what a coroutine puts.

    The coroutine starts when the first item is asked for. What it puts items with returns None, or,
    while `capacity` items are not taken, what to await before the next one. Its exception, if any,
    is raised after the last item. Closing cancels it and waits until it has let go. Only one
    consumer may take items.
    """

    def __init__(
        self,
        produce: Callable[[Put[T]], Coroutine[Any, Any, None]],
        *,
        capacity: int = 128,
    ) -> None:
        self._produce = produce
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._job: Job[None] | None = None
        self._wake: Callable[[], object] | None = None
        self._flush_due = False
        self._closed = False
        self._room: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None
        self._first_to_wait = asyncio.Lock()

    # The producer's side, on the private loop.

    def _put(self, item: T) -> Awaitable[None] | None:
        self._items.append(item)
        if not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        return self._wait_for_room() if len(self._items) >= self._capacity else None

    async def _wait_for_room(self) -> None:
        if self._room is None:
            self._room = (asyncio.get_running_loop(), asyncio.Event())
        room = self._room[1]
        # One waits for room, the others for their turn. If all were woken at once, the first to
        # run would fill the room again, and the others have been woken for nothing.
        async with self._first_to_wait:
            while len(self._items) >= self._capacity:
                room.clear()
                self._flush()
                await room.wait()

    def _flush(self) -> None:
        self._flush_due = False
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    # The consumer's side, anywhere else.

    def _must_wait(self, wake: Callable[[], object]) -> bool:
        """Leave `wake` for the producer; False if there is something to take, or the end.

        The order matters: the producer appends and then looks for `wake`, the consumer leaves
        `wake` and then looks for items, so that one of the two sees the other.
        """
        if self._closed:
            return False
        if self._job is None:
            self._job = Job(self._produce(self._put))
            self._job.when_done(self._flush)
        self._wake = wake
        return not self._items and not self._job.done()

    def _take(self) -> T:
        item = self._items.popleft()
        if self._room is not None and len(self._items) == self._capacity // 2:
            loop, room = self._room
            loop.call_soon_threadsafe(room.set)
        return item

    def __iter__(self) -> Bridge[T]:
        return self

    def __next__(self) -> T:
        while not self._items:
            event = threading.Event()
            try:
                if self._must_wait(event.set):
                    event.wait()
                    continue
            finally:
                self._wake = None
            if not self._items:
                self._raise_error()
                raise StopIteration
        return self._take()

    def __aiter__(self) -> Bridge[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            loop = asyncio.get_running_loop()
            ready = asyncio.Event()
            try:
                if self._must_wait(functools.partial(loop.call_soon_threadsafe, ready.set)):
                    await ready.wait()
                    continue
            finally:
                # Whoever wakes a consumer that has gone would call into a loop that has closed.
                self._wake = None
            if not self._items:
                self._raise_error()
                raise StopAsyncIteration
        return self._take()

    def _raise_error(self) -> None:
        """Raise what the producer raised, once; a bridge that was closed has just ended."""
        job = self._job
        if job is None:
            return
        try:
            job.result()
        except asyncio.CancelledError:
            return

    def cancel(self) -> None:
        """Cancel the producer if it still runs, without waiting; nothing more comes."""
        self._closed = True
        self._items.clear()
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """Cancel the producer if it still runs, and wait until it has let go."""
        self.cancel()
        if self._job is not None and not self._job.done():
            self._job.wait()

    async def aclose(self) -> None:
        """The awaitable twin of `close`."""
        self.cancel()
        if self._job is not None and not self._job.done():
            await self._job.wait_async()

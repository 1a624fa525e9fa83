"""Work that blocks, such as that on a disk, off the loop and to its end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractContextManager

__all__ = ["in_thread", "to_its_end"]

T = TypeVar("T")


@contextlib.asynccontextmanager
async def in_thread(context: AbstractContextManager[Any]) -> AsyncIterator[Any]:
    """A context whose beginning and end touch the disk."""
    value = await asyncio.to_thread(context.__enter__)
    try:
        yield value
    except BaseException as error:
        if not await asyncio.to_thread(context.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def to_its_end(work: Callable[[threading.Event], T]) -> T:
    """Do something in a thread; if it is canceled, have the thread give up, and wait for that."""
    given_up = threading.Event()
    task = asyncio.ensure_future(asyncio.to_thread(work, given_up))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.wait([task])
        task.exception()  # looked at: it says that it was given up
        raise

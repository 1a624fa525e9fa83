"""Leave for each request that a backend sends: calls of it may send more than one."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Leave = Callable[[], Awaitable[None]]

__all__ = ["given_by", "next_request"]

_leave: ContextVar[Leave | None] = ContextVar("oumi_batch_leave", default=None)


async def next_request() -> None:
    """Wait until the limits let another request of this call be sent, and count it.

    Core has leave for the first request of each call of a `BatchBackend`. A backend whose call
    sends more awaits this before each of the others. Outside of core's calls it waits for nothing.
    """
    leave = _leave.get()
    if leave is not None:
        await leave()


@contextlib.contextmanager
def given_by(leave: Leave) -> Iterator[None]:
    """Have `next_request` ask `leave` in the block."""
    token = _leave.set(leave)
    try:
        yield
    finally:
        _leave.reset(token)

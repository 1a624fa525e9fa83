"""Bounded workers: so many rows in flight, never more, whatever the input's length."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from oumi_core.run.feed import Feed
    from oumi_core.types.result import Result

__all__ = ["work"]

T = TypeVar("T")

_ROWS_A_TURN = 256
"""After so many rows a worker lets the loop turn, even if no row made it wait."""


async def work(
    feed: Feed[T],
    answer: Callable[[int, T], Coroutine[Any, Any, Result]],
    deliver: Callable[[Result], Coroutine[Any, Any, None]],
    num_workers: int,
) -> None:
    """Answer every row of `feed` with `num_workers` rows in flight, and deliver each result.

    Ends when the feed does and all rows in flight were delivered. An exception (of the input, or
    of `deliver`) cancels the rows in flight and is raised.
    """

    async def worker() -> None:
        rows = 0
        while (row := await feed.take()) is not None:
            await deliver(await answer(*row))
            rows += 1
            if not rows % _ROWS_A_TURN:
                await asyncio.sleep(0)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(num_workers):
                group.create_task(worker())
    except* Exception as errors:  # noqa: BLE001 - unwrapped: the first of them is the reason
        raise errors.exceptions[0] from None

"""Bounded workers: so many rows in flight, never more, whatever the input's length."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from oumi_core.run.turns import Turn, Turns

__all__ = ["work"]

T = TypeVar("T")

_ROWS_A_TURN = 256
"""After so many rows a worker lets the loop turn, even if no row made it wait."""


async def work(
    turns: Turns[T],
    serve: Callable[[Turn[T], asyncio.Task[Any]], Coroutine[Any, Any, None]],
    num_workers: int,
) -> None:
    """Serve every turn, `num_workers` at a time, each in its worker's task.

    Ends when there are no more turns and all that were taken have been served. An exception (of
    the input, or of `serve`) cancels the turns in flight and is raised.
    """

    async def worker() -> None:
        # A coroutine always runs in a task. Asking for it takes 0.2 us: once, not once a row.
        task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        rows = 0
        # Most turns are there already; a coroutine for each would cost 0.3 us.
        while (turn := turns.take_now() or await turns.take()) is not None:
            await serve(turn, task)
            rows += 1
            if not rows % _ROWS_A_TURN:
                await asyncio.sleep(0)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(num_workers):
                group.create_task(worker())
    except* Exception as errors:  # noqa: BLE001 - unwrapped: the first of them is the reason
        raise errors.exceptions[0] from None

"""Requests that a server only queues are held back, and none that it gets more done with."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from oumi_core import get_engine
from oumi_core.engine import Engine, Request
from oumi_core.types import Completion, Conversation, Message

if TYPE_CHECKING:
    from collections.abc import Callable

ROW = Conversation([Message("user", "x")])


class WorkingServer(Engine):
    """Works on so many requests at once, each a little slower beside others; never refuses.

    Attributes:
        slots: how many it works on; the others wait in a queue.
        shared: with so many others at work, each takes twice as long.
        seconds: how long an answer takes when it is alone.
        in_flight: requests that are here, at the start of each.
    """

    remote: ClassVar[bool] = True
    slots: ClassVar[int] = 10**6
    shared: ClassVar[float] = float("inf")
    seconds: ClassVar[Callable[[], float]]
    queue: ClassVar[asyncio.Semaphore]
    here: ClassVar[int] = 0
    in_flight: ClassVar[list[int]] = []

    async def complete(self, request: Request) -> Completion:
        cls = WorkingServer
        cls.here += 1
        cls.in_flight.append(cls.here)
        async with cls.queue:
            busy = min(cls.here, cls.slots) - 1
            await asyncio.sleep(cls.seconds() * (1 + busy / cls.shared))
        cls.here -= 1
        return Completion(Message("assistant", "x"))


@pytest.fixture(autouse=True)
def _new_server() -> None:
    cls = WorkingServer
    cls.slots, cls.shared, cls.here = 10**6, float("inf"), 0
    cls.seconds = staticmethod(lambda: 1.0)
    cls.in_flight.clear()


async def run(rows: int, num_workers: int = 256, **fields: Any) -> float:
    """Have rows answered; how long that took."""

    async def keep(result: Any) -> None:
        assert result.ok

    WorkingServer.queue = asyncio.Semaphore(WorkingServer.slots)
    began = asyncio.get_running_loop().time()
    engine = get_engine(WorkingServer, model="m", num_workers=num_workers, **fields)
    await engine.run([ROW] * rows).execute(keep)
    return asyncio.get_running_loop().time() - began


def exponential() -> Callable[[], float]:
    """Seconds that differ as much as those of short and long answers do."""
    draws = random.Random(1)  # noqa: S311 - of times, not of secrets
    return lambda: draws.expovariate(1.0)


@pytest.mark.parametrize("slots", [4, 16])
def test_a_server_that_queues_silently_gets_few_more_than_it_works_on(
    virtual: Any, slots: int
) -> None:
    WorkingServer.slots = slots
    took = virtual(run(4000))
    middle = sorted(WorkingServer.in_flight)[len(WorkingServer.in_flight) // 2]
    assert middle <= max(8, 5 * slots)  # all 256 without the gradient
    assert took <= 1.05 * 4000 / slots


@pytest.mark.parametrize("lengths", ["equal", "different"])
def test_a_server_that_works_on_all_gets_all(virtual: Any, lengths: str) -> None:
    if lengths == "different":
        WorkingServer.seconds = staticmethod(exponential())
    virtual(run(4000))
    late = WorkingServer.in_flight[1000:3000]
    assert sum(late) / len(late) >= 0.98 * 256


@pytest.mark.parametrize("lengths", ["equal", "different"])
@pytest.mark.parametrize("shared", [256.0, 64.0])
def test_a_server_that_gets_more_done_with_more_loses_little(
    virtual: Any, shared: float, lengths: str
) -> None:
    """A batching server: with 256 at once, each answer takes 2 or 5 times as long as alone."""
    WorkingServer.shared = shared
    times = []
    for adaptive in (True, False):
        if lengths == "different":
            WorkingServer.seconds = staticmethod(exponential())
        times.append(virtual(run(10_000, use_adaptive_concurrency=adaptive)))
    assert times[0] <= 1.1 * times[1]


def test_a_server_that_grows_is_used(virtual: Any) -> None:
    async def main() -> None:
        WorkingServer.slots = 8
        running = asyncio.create_task(run(8000))
        await asyncio.sleep(300)
        assert WorkingServer.in_flight[-1] < 128
        WorkingServer.slots = 10**6
        for _ in range(1000):
            WorkingServer.queue.release()
        await running

    virtual(main())
    assert max(WorkingServer.in_flight[-2000:]) == 256


def test_an_idle_server_is_not_taken_for_a_slow_one(virtual: Any) -> None:
    async def main() -> None:
        for _ in range(20):
            await run(100)
            await asyncio.sleep(100)
        await run(2000)

    virtual(main())
    assert WorkingServer.in_flight[-1000] == 256

"""The rate that a server takes is found from what it refuses: simulated, in exact virtual time."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core import get_engine
from oumi_core.engine import Engine, Request
from oumi_core.errors import EngineError
from oumi_core.run.pace import Pace
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message

if TYPE_CHECKING:
    from collections.abc import Callable

ROW = Conversation([Message("user", "x")])
HINTS = pytest.mark.parametrize("hint", [None, 1.0], ids=["no hint", "a hint of 1 s"])


class LimitedServer(Engine):
    """Takes requests by a leaky bucket, as nginx's `limit_req` does, and refuses others at once.

    Attributes:
        rate: requests a second at a time.
        burst: how many more it takes at once.
        hint: the wait that it asks for, in seconds.
        work: seconds that an answer takes.
        answered, refused: when it did so.
    """

    remote: ClassVar[bool] = True
    rate: ClassVar[Callable[[float], float]]
    burst: ClassVar[float] = 0.0
    hint: ClassVar[float | None] = None
    work: ClassVar[float] = 0.0
    answered: ClassVar[list[float]] = []
    refused: ClassVar[list[float]] = []
    level: ClassVar[float] = 0.0
    last: ClassVar[float] = -math.inf
    network: ClassVar[random.Random]

    async def complete(self, request: Request) -> Completion:
        cls, loop = LimitedServer, asyncio.get_running_loop()
        await asyncio.sleep(cls.network.uniform(0.0005, 0.0025))
        now = loop.time()
        level = max(0.0, cls.level - cls.rate(now) * (now - cls.last)) + 1.0
        if level > 1.0 + cls.burst:
            cls.refused.append(now)
            raise EngineError(Failure(FailureKind.RATE_LIMIT, "429", retry_after=cls.hint))
        cls.level, cls.last = level, now
        await asyncio.sleep(cls.work + cls.network.uniform(0.0005, 0.0025))
        cls.answered.append(now)
        return Completion(Message("assistant", "x"))

    @classmethod
    def share_refused(cls, since: float = 0.0) -> float:
        refused = sum(at >= since for at in cls.refused)
        return refused / (refused + cls.taken_between(since, math.inf))

    @classmethod
    def taken_between(cls, first: float, last: float) -> int:
        return sum(first <= at < last for at in cls.answered)


@pytest.fixture(autouse=True)
def _new_server() -> None:
    cls = LimitedServer
    cls.rate = staticmethod(lambda _: 10.0)
    cls.burst, cls.hint, cls.work = 0.0, None, 0.0
    cls.answered.clear()
    cls.refused.clear()
    cls.level, cls.last = 0.0, -math.inf
    cls.network = random.Random(1)  # noqa: S311 - of delays, not of secrets
    random.seed(1)  # of the jitter of the retry policy


async def run(rows: int, num_workers: int = 64, **fields: Any) -> float:
    """Have rows answered; how long that took."""

    async def keep(result: Any) -> None:
        assert result.ok

    began = asyncio.get_running_loop().time()
    engine = get_engine(LimitedServer, model="m", num_workers=num_workers, **fields)
    await engine.run([ROW] * rows).execute(keep)
    return asyncio.get_running_loop().time() - began


async def run_until(end: float, **fields: Any) -> None:
    """Have more rows answered than there is time for."""
    running = asyncio.create_task(run(10**5, **fields))
    await asyncio.sleep(end)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


@HINTS
@pytest.mark.parametrize("seed", range(3))
def test_a_limit_per_second_is_found_and_kept(virtual: Any, hint: float | None, seed: int) -> None:
    LimitedServer.hint = hint
    LimitedServer.network.seed(seed)
    assert virtual(run(300)) <= 1.4 * 30
    assert LimitedServer.share_refused() <= 0.15


def test_without_a_pace_most_requests_are_refused(virtual: Any) -> None:
    """The same rows, retries and pauses, but no pace."""
    virtual(run_until(60.0, use_adaptive_concurrency=False))
    assert LimitedServer.share_refused() > 0.5


@HINTS
@pytest.mark.parametrize("rises", [20.0, 23.7, 28.1])
def test_a_limit_that_rises_is_found_within_30_seconds(
    virtual: Any, hint: float | None, rises: float
) -> None:
    LimitedServer.hint = hint
    LimitedServer.rate = staticmethod(lambda now: 10.0 if now < rises else 40.0)
    virtual(run_until(rises + 30.0))
    seconds = [LimitedServer.taken_between(rises + at, rises + at + 1) for at in range(30)]
    assert max(seconds) >= 0.8 * 40
    assert LimitedServer.share_refused() <= 0.15


@HINTS
def test_a_limit_that_falls_is_kept_soon(virtual: Any, hint: float | None) -> None:
    LimitedServer.hint = hint
    LimitedServer.rate = staticmethod(lambda now: 40.0 if now < 20.0 else 10.0)
    virtual(run_until(70.0))
    assert LimitedServer.taken_between(30.0, 70.0) >= 0.75 * 10 * 40
    assert LimitedServer.share_refused(since=20.0) <= 0.1


@HINTS
@pytest.mark.parametrize(
    ("rate", "burst", "work"),
    [(10.0, 0.0, 2.0), (10.0, 100.0, 2.0), (10.0, 100.0, 0.0), (0.5, 3.0, 0.5), (100.0, 50.0, 0.1)],
)
def test_other_limits_are_used_and_kept(
    virtual: Any, hint: float | None, rate: float, burst: float, work: float
) -> None:
    LimitedServer.hint, LimitedServer.burst, LimitedServer.work = hint, burst, work
    LimitedServer.rate = staticmethod(lambda _: rate)
    virtual(run_until(120.0, num_workers=256))
    assert LimitedServer.taken_between(0.0, 120.0) >= 0.7 * rate * 120
    assert LimitedServer.share_refused() <= 0.2


@HINTS
def test_a_limit_shows_with_few_requests_at_once_too(virtual: Any, hint: float | None) -> None:
    """With 4, never more than 4 are refused in a row, after some thirty answers."""
    LimitedServer.hint, LimitedServer.burst = hint, 20.0
    LimitedServer.rate = staticmethod(lambda _: 40.0)
    virtual(run_until(120.0, num_workers=4))
    assert LimitedServer.taken_between(0.0, 120.0) >= 0.7 * 40 * 120
    assert LimitedServer.share_refused() <= 0.05


def test_a_server_that_takes_nothing_for_a_while_is_used_again_soon(virtual: Any) -> None:
    LimitedServer.rate = staticmethod(lambda now: 0.0 if 20.0 < now < 60.0 else 10.0)
    virtual(run_until(180.0, retry_backoff_max=10.0))
    assert LimitedServer.taken_between(100.0, 180.0) >= 0.75 * 10 * 80


def test_all_runs_on_a_server_share_its_pace(virtual: Any) -> None:
    async def three() -> float:
        await asyncio.gather(*(run(100) for _ in range(3)))
        return asyncio.get_running_loop().time()

    assert virtual(three()) <= 1.4 * 30
    assert LimitedServer.share_refused() <= 0.15


def paced() -> Pace:
    """One that was refused at 10 requests a second, at time 1."""
    pace = Pace(0.0)
    for _ in range(10):
        pace.passed += 1
    pace.refused(0.5, math.inf, 1.0)
    return pace


def test_the_first_pace_is_what_has_passed() -> None:
    pace = paced()
    assert pace.rate == 10.0
    assert pace.next == 1.1


def test_an_episode_cuts_once() -> None:
    pace = paced()
    pace.started(1.5)
    rate = pace.rate
    pace.passed += 1
    pace.refused(1.5, rate, 1.6)
    after = pace.rate
    assert 0.7 * rate <= after <= 0.9 * rate
    for started in (0.9, 1.5, 1.6):
        pace.passed += 1
        pace.refused(started, rate, 1.7)
    assert pace.rate == after


def test_a_pace_that_is_not_used_up_does_not_climb() -> None:
    pace, now = paced(), 2.0
    rate = pace.rate
    for _ in range(100):
        pace.started(now)
        now += 1.0
    assert pace.rate == rate


def test_a_lone_refusal_far_from_the_known_limit_costs_little() -> None:
    pace, now = paced(), 1.1

    def climb(rate: float) -> float:
        """Use up the pace until it is so fast; how long that takes."""
        nonlocal now
        began = now
        while pace.rate < rate:
            now = pace.next
            pace.started(now)
            pace.passed += 1
        return now - began

    climb(20.0)
    pace.refused(now, pace.rate, now)  # the limit that is known
    climb(40.0)
    pace.refused(now, pace.rate, now)  # not near it: it may be chance
    assert pace.rate >= 0.9 * 40
    assert climb(40.0) < 2.0
    pace.refused(now, pace.rate, now)  # it was not
    assert climb(40.0) > 4.0


def test_a_late_timer_does_not_slow_a_fast_pace() -> None:
    pace, now, late = Pace(0.0), 1.0, 0.001
    for _ in range(1000):
        pace.passed += 1
    pace.refused(0.5, math.inf, now)
    pace.refused(1.5, pace.rate, 2.0)  # nothing has passed: it is as before
    assert pace.rate == 1000.0
    starts = 0
    while now < 1.5:
        now = max(now, pace.next) + late
        while pace.next <= now:
            pace.started(now)
            starts += 1
    assert starts >= 0.95 * 1000 * 0.5


@given(
    st.lists(
        st.tuples(st.sampled_from(["start", "pass", "refuse", "wait"]), st.floats(0, 5)),
        max_size=80,
    )
)
def test_the_pace_stays_within_its_bounds(events: list[tuple[str, float]]) -> None:
    pace, now = Pace(0.0), 0.0
    sent: list[tuple[float, float]] = []
    for event, amount in events:
        now += amount if event == "wait" else 0.0
        if event == "start":
            now = max(now, pace.next)
            sent.append((now, pace.rate))
            if pace.rate < math.inf:
                before = pace.next
                pace.started(now)
                assert pace.next >= max(before, now)
        elif event == "pass":
            pace.passed += 1
        elif event == "refuse" and sent:
            started, rate = sent[int(amount) % len(sent)]
            before = pace.rate
            pace.refused(started, rate, now)
            assert pace.rate <= max(before, rate, 1 / 60)
        assert pace.rate >= 1 / 60

"""Refusals that come by chance, whatever the pace, are no limit: simulated, in virtual time."""

from __future__ import annotations

import asyncio
import random
from typing import Any, ClassVar

import pytest

from oumi_core import get_engine
from oumi_core.engine import Engine, Request
from oumi_core.errors import EngineError
from oumi_core.run.chance import Chance
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message

ROW = Conversation([Message("user", "x")])
HINTS = pytest.mark.parametrize("hint", [None, 1.0], ids=["no hint", "a hint of 1 s"])


class UnluckyServer(Engine):
    """Refuses a share of all requests, each within milliseconds, whatever it bears.

    Attributes:
        share: of all requests, those that it refuses.
        hint: the wait that it asks for, in seconds.
        work: seconds that an answer takes.
        draws: what decides.
    """

    remote: ClassVar[bool] = True
    share: ClassVar[float] = 0.0
    hint: ClassVar[float | None] = None
    work: ClassVar[float] = 0.02
    draws: ClassVar[random.Random]

    async def complete(self, request: Request) -> Completion:
        cls = UnluckyServer
        await asyncio.sleep(cls.draws.uniform(0.001, 0.005))
        if cls.draws.random() < cls.share:
            raise EngineError(Failure(FailureKind.RATE_LIMIT, "429", retry_after=cls.hint))
        await asyncio.sleep(cls.work * cls.draws.uniform(0.8, 1.2))
        return Completion(Message("assistant", "x"))


async def seconds(rows: int, **fields: Any) -> float:
    """Have rows answered; how long that took."""
    UnluckyServer.draws = random.Random(1)  # noqa: S311 - of luck, not of secrets
    random.seed(1)  # of the jitter of the retry policy

    async def keep(result: Any) -> None:
        assert result.ok

    began = asyncio.get_running_loop().time()
    await get_engine(UnluckyServer, model="m", **fields).run([ROW] * rows).execute(keep)
    return asyncio.get_running_loop().time() - began


@HINTS
@pytest.mark.parametrize(
    ("share", "work", "workers_and_rows"),
    [
        (0.01, 0.02, (64, 2000)),
        (0.05, 0.02, (64, 1000)),
        (0.05, 0.5, (64, 1000)),
        (0.05, 0.02, (256, 3000)),
        (0.05, 0.02, (2, 300)),
        (0.1, 0.02, (64, 1000)),
    ],
)
def test_a_server_that_refuses_by_chance_costs_its_pauses_only(
    virtual: Any, share: float, work: float, workers_and_rows: tuple[int, int], hint: float | None
) -> None:
    """Without adaptive limits a run serves the same pauses, and nothing else holds it back."""
    UnluckyServer.share, UnluckyServer.work, UnluckyServer.hint = share, work, hint
    num_workers, rows = workers_and_rows
    adaptive, free = (
        virtual(seconds(rows, num_workers=num_workers, use_adaptive_concurrency=on))
        for on in (True, False)
    )
    assert adaptive <= 1.5 * free


@HINTS
@pytest.mark.parametrize("share", [0.15, 0.2, 0.3])
def test_a_server_that_refuses_much_by_chance_does_not_slow_a_run_to_a_row_a_minute(
    virtual: Any, share: float, hint: float | None
) -> None:
    """A pace that was learned from bad luck is forgotten when cutting it has changed nothing."""
    UnluckyServer.share, UnluckyServer.work, UnluckyServer.hint = share, 0.05, hint
    adaptive, free = (
        virtual(seconds(3000, num_workers=64, use_adaptive_concurrency=on)) for on in (True, False)
    )
    assert adaptive <= 30 * free


def exceeded(share: float, at_once: int, requests: int, *, refusals_first: bool) -> bool:
    """Whether so many requests, sent so many at once, show more than chance."""
    draws, chance, answers = random.Random(1), Chance(), 0  # noqa: S311 - no secrets
    for _ in range(requests // at_once):
        refused = [draws.random() < share for _ in range(at_once)]
        for ended, this in enumerate(sorted(refused, reverse=True) if refusals_first else refused):
            if this and chance.is_exceeded(answers, at_once - 1 - ended):
                return True
            answers = 0 if this else answers + 1
    return False


@pytest.mark.parametrize("refusals_first", [True, False])
@pytest.mark.parametrize("at_once", [1, 8, 64, 256])
def test_one_refusal_in_twenty_stays_chance_in_a_long_run(
    at_once: int, *, refusals_first: bool
) -> None:
    assert not exceeded(0.05, at_once, 50_000, refusals_first=refusals_first)


@pytest.mark.parametrize("at_once", [1, 8, 64, 256])
def test_two_refusals_in_five_are_more_than_chance(at_once: int) -> None:
    assert exceeded(0.4, at_once, max(100, 2 * at_once), refusals_first=True)


@pytest.mark.parametrize("answered", [0, 10**6])
def test_a_wave_that_is_refused_as_a_whole_is_more_than_chance(answered: int) -> None:
    chance = Chance()
    weighed = [
        chance.is_exceeded(0 if others < 7 else answered, others) for others in range(7, -1, -1)
    ]
    assert weighed[-1]


def test_answers_before_do_not_outweigh_those_in_flight_being_refused_each_time() -> None:
    chance = Chance()
    weighed = [
        chance.is_exceeded(100 if others == 3 else 0, others)
        for _ in range(5)
        for others in (3, 2, 1, 0)
    ]
    assert any(weighed)

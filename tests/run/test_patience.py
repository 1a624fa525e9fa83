"""Calls that steer a batch hold to the limits and the waits of a run; in exact virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from oumi_core.batching import next_request
from oumi_core.batching.patience import Patience
from oumi_core.configs import InferenceConfig, ModelParams, RemoteParams
from oumi_core.errors import EngineError, RunStopped
from oumi_core.registry import ENGINE, find
from oumi_core.run.plan import make_plan
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

ECHO = find(ENGINE, "echo")


def patience(*, name: str = "demo", of_a_server: bool = True, **remote: Any) -> Patience:
    params = RemoteParams(**remote)
    plan = make_plan(
        InferenceConfig(model=ModelParams(model_name=name), remote_params=params), ECHO
    )
    return Patience(plan, (lambda: ECHO.cls(plan.engine_config)) if of_a_server else None)


class Calls:
    """A call that notes when it was made; the first ones fail as they are told to."""

    def __init__(self, *failures: Failure) -> None:
        self.at: list[float] = []
        self._failures = list(failures)

    async def __call__(self) -> str:
        self.at.append(asyncio.get_running_loop().time())
        if self._failures:
            raise EngineError(self._failures.pop(0))
        return "done"


def test_no_more_calls_are_made_in_a_minute_than_a_run_may_make(virtual: Any) -> None:
    async def scene() -> list[float]:
        made = Calls()
        # Of two batches, as of two runs: they share what the server allows.
        for one in (patience(requests_per_minute=2), patience(requests_per_minute=2)) * 2:
            await one.call(made)
        return made.at

    first, second, third, fourth = virtual(scene())
    assert (first, second) == (0.0, 0.0)
    assert third >= 60.0
    assert fourth < third + 60.0


def test_each_request_of_a_call_counts(virtual: Any) -> None:
    async def scene() -> list[float]:
        at: list[float] = []

        async def three_requests() -> None:
            for number in range(3):
                if number:
                    await next_request()
                at.append(asyncio.get_running_loop().time())

        await patience(requests_per_minute=2).call(three_requests)
        await next_request()  # of no call: waits for nothing
        return at

    first, second, third = virtual(scene())
    assert (first, second) == (0.0, 0.0)
    assert third >= 60.0


def test_a_retry_counts_as_a_call(virtual: Any) -> None:
    async def scene() -> list[float]:
        made = Calls(Failure(FailureKind.TRANSIENT, "once"))
        one = patience(requests_per_minute=1, retry_backoff_base=0.001)
        assert await one.call(made) == "done"
        return made.at

    assert virtual(scene())[1] >= 60.0


def test_calls_that_succeed_need_not_be_polite(virtual: Any) -> None:
    async def scene() -> list[float]:
        made = Calls()
        one = patience(politeness_policy=1000.0)
        for _ in range(3):
            await one.call(made)
        return made.at

    assert virtual(scene()) == [0.0, 0.0, 0.0]


def test_one_that_is_told_to_wait_has_the_others_wait(virtual: Any) -> None:
    async def scene() -> list[float]:
        told = Calls(Failure(FailureKind.RATE_LIMIT, "slow down", status=429, retry_after=30.0))
        other = Calls()

        async def later() -> None:
            await asyncio.sleep(1.0)
            await patience().call(other)

        async with asyncio.TaskGroup() as group:
            group.create_task(patience().call(told))
            group.create_task(later())
        return other.at

    assert virtual(scene())[0] >= 30.0


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (Failure(FailureKind.BAD_REQUEST, "no"), EngineError),
        (Failure(FailureKind.AUTH, "no", status=401), RunStopped),
    ],
)
def test_a_call_that_is_refused_lets_the_next_one_go(
    virtual: Any, failure: Failure, raised: type[Exception]
) -> None:
    async def scene() -> str:
        one = patience(requests_per_minute=2)
        with pytest.raises(raised):
            await one.call(Calls(failure))
        return await one.call(Calls())

    assert virtual(scene()) == "done"


def test_a_call_that_asks_no_server_waits_for_none(virtual: Callable[..., Any]) -> None:
    async def scene() -> list[float]:
        made = Calls()
        one = patience(requests_per_minute=1, of_a_server=False)
        for _ in range(3):
            await one.call(made)
        return made.at

    assert virtual(scene()) == [0.0, 0.0, 0.0]

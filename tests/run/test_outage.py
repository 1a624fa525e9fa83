"""A server that is down for a while: the run waits for it; simulated, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any, ClassVar

import pytest

from oumi_core import get_engine
from oumi_core.engine import Engine, Request
from oumi_core.errors import EngineError
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message

ROW = Conversation([Message("user", "x")])


class RestartedServer(Engine):
    """Answers nothing for a while.

    Attributes:
        down: from when to when, in seconds of the run.
        asked: the times of the requests that it did not answer.
    """

    remote: ClassVar[bool] = True
    down: ClassVar[tuple[float, float]] = (0.0, 0.0)
    asked: ClassVar[list[float]] = []

    async def start(self) -> None:
        RestartedServer.asked = []
        self._began = asyncio.get_running_loop().time()

    async def complete(self, request: Request) -> Completion:
        now = asyncio.get_running_loop().time() - self._began
        began, ended = RestartedServer.down
        if began <= now < ended:
            RestartedServer.asked.append(now)
            raise EngineError(Failure(FailureKind.TRANSIENT, "connection refused"))
        await asyncio.sleep(0.05)
        return Completion(Message("assistant", "x"))


async def outcomes(down: tuple[float, float], rows: int, num_workers: int) -> tuple[Any, Any]:
    """How many rows ended how, and why the run stopped."""
    random.seed(1)  # of the jitter of the retry policy
    RestartedServer.down = down
    kinds: Counter[str] = Counter()

    async def keep(result: Any) -> None:
        kinds["ok" if result.ok else result.error.kind] += 1

    run = get_engine(RestartedServer, model="m", num_workers=num_workers).run([ROW] * rows)
    await run.execute(keep)
    return kinds, run.stopped()


@pytest.mark.parametrize("seconds", [1.0, 5.0, 60.0, 240.0])
@pytest.mark.parametrize("num_workers", [1, 8, 64])
def test_the_run_waits_for_a_server_that_is_restarted(
    virtual: Any, seconds: float, num_workers: int
) -> None:
    kinds, stopped = virtual(outcomes((2.0, 2.0 + seconds), 30 * num_workers + 300, num_workers))

    assert stopped is None
    assert sum(kinds.values()) == 30 * num_workers + 300
    assert kinds[FailureKind.TRANSIENT] <= 5  # those that used up their tries before it was seen
    # Few requests to a server that is down: those in flight, and again after ever longer waits.
    assert len(RestartedServer.asked) <= 40 + num_workers * (4 + seconds / 6)


def test_a_server_that_stays_away_stops_the_run(virtual: Any) -> None:
    kinds, stopped = virtual(outcomes((2.0, 1e9), 3000, 64))

    assert "the server has answered nothing for 3" in str(stopped)
    assert kinds[FailureKind.TRANSIENT] <= 64
    assert RestartedServer.asked[-1] < 400


def test_a_server_that_was_never_there_stops_the_run_soon(virtual: Any) -> None:
    _, stopped = virtual(outcomes((0.0, 1e9), 3000, 64))

    assert "retry budget" in str(stopped)
    assert RestartedServer.asked[-1] < 20

"""How an engine begins and ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from oumi_core.testing.conformance.kit import EngineKit
from oumi_core.testing.holdings import Holdings

if TYPE_CHECKING:
    from oumi_core.engine import Engine, Request

__all__ = ["LifetimeTests"]

_SOON = 5.0
"""Seconds in which threads and processes that were told to end have ended."""


class LifetimeTests(EngineKit):
    """Making, starting and stopping."""

    def test_making_one_holds_nothing(self) -> None:
        """No thread, no process, no socket: weights and pools come with `start`."""
        before = Holdings.now()
        engine = self.make_engine()
        left = Holdings.now().beyond(before)
        assert not left, f"{type(engine).__name__}(config) holds {', '.join(left)}"

    def test_its_repr_holds_no_key(self) -> None:
        """Engines stand in tracebacks and logs."""
        engine = self.make_engine()
        remote = engine.config.remote_params
        if remote is None or not remote.api_key:
            pytest.skip("its config holds no remote_params.api_key")
        assert remote.api_key not in repr(engine), "repr(engine) shows the key"

    def test_stopping_frees_what_starting_took(self) -> None:
        """Threads, processes, sockets and tasks."""
        request = self.request()
        self.answer(request)  # so that a server in this process has the threads it wants
        before = Holdings.now()
        with asyncio.Runner() as runner:
            tasks = runner.run(_lived(self.make_engine(), request))
        assert not tasks, f"stop() left {tasks} tasks running"
        until = time.monotonic() + _SOON
        while (left := Holdings.now().beyond(before)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not left, f"stop() left {', '.join(left)}"

    def test_stopping_ends_what_is_in_flight(self) -> None:
        """Core cancels first, and stops then: nothing of the two may hang or raise."""
        request = self.request()
        with asyncio.Runner() as runner:
            runner.run(asyncio.wait_for(_cut_short(self.make_engine(), request), self.patience))


async def _lived(engine: Engine, request: Request) -> int:
    """Start it, ask once, stop it; how many tasks are left."""
    await engine.start()
    try:
        await engine.complete(request)
    finally:
        await engine.stop()
    await asyncio.sleep(0)
    return len(asyncio.all_tasks()) - 1


async def _cut_short(engine: Engine, request: Request) -> None:
    """Start it, ask, and stop it while it answers."""
    await engine.start()
    asked = [asyncio.create_task(engine.complete(request)) for _ in range(4)]
    await asyncio.sleep(0.01)
    for task in asked:
        task.cancel()
    await asyncio.wait(asked)
    await engine.stop()

"""The engines that one `InferenceEngine` has made, started once and stopped once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.errors import ConfigError, EngineError, OumiError
from oumi_core.loop import close_at_exit, run_soon
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from oumi_core.engine import Engine, EngineConfig
    from oumi_core.run.plan import Plan

__all__ = ["EnginesInUse"]


class EnginesInUse:
    """Makes engines as plans ask for them, and keeps them until `close`.

    One is used again where it `serves` the plan's model and was made with the same other
    arguments; another model on an engine that holds weights makes another engine. Everything
    but the constructor runs on the private loop.
    """

    def __init__(self, owner: object, engine_class: type[Engine]) -> None:
        self._class = engine_class
        self._engines: list[Engine] = []
        self._users: set[asyncio.Task[Any]] = set()
        self._starting = asyncio.Lock()
        self._process = os.getpid()
        self._closed = False
        # If the owner is dropped without `close`, its engines must not live on.
        weakref.finalize(owner, _close_later, self).atexit = False

    @contextlib.asynccontextmanager
    async def using(self, plan: Plan) -> AsyncIterator[Engine]:
        """A started engine for `plan`, its constraint checked. `close` cancels who uses one.

        Raises:
            ConfigError: the engine was closed; or it cannot hold the plan's constraint.
            EngineError: it cannot be brought up.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of the loop runs in a task
        self._users.add(task)
        try:
            engine = await self.start(plan)
            if plan.enforced is not None:
                await engine.check_constraint(plan.enforced)
            yield engine
        finally:
            self._users.discard(task)

    async def start(self, plan: Plan) -> Engine:
        """A started engine for `plan`; raises as `using`."""
        self._forget_parent()
        async with self._starting:
            if self._closed:
                raise ConfigError("the engine was closed; make a new one")
            for engine in self._engines:
                rest = attrs.evolve(plan.engine_config, model=engine.config.model)
                if rest == engine.config and engine.serves(plan.model):
                    return engine
            engine = _made(self._class, plan.engine_config)
            try:
                await _guarded(engine.start())
            except BaseException:
                # What was loaded before it failed or was canceled must not stay.
                with contextlib.suppress(Exception):
                    await _guarded(engine.stop())
                raise
            self._engines.append(engine)
            close_at_exit(self, self.close)
            return engine

    def _forget_parent(self) -> None:
        """After a fork: the parent's engines live in its loop, and are its own to stop."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._engines, self._users, self._starting = [], set(), asyncio.Lock()

    def has_any(self) -> bool:
        """True if there is an engine to stop."""
        return bool(self._engines) and self._process == os.getpid()

    async def close(self) -> None:
        """Cancel who uses an engine, and stop all; afterwards none is handed out.

        Raises:
            Exception: what the first engine raised that did not stop well; all were asked.
        """
        self._forget_parent()
        self._closed = True
        close_at_exit(self, None)
        users = self._users - {asyncio.current_task()}
        for user in users:
            user.cancel()
        if users:
            await asyncio.wait(users)
        async with self._starting:
            engines, self._engines = self._engines, []
            outcomes = await asyncio.gather(
                *(_guarded(engine.stop()) for engine in reversed(engines)), return_exceptions=True
            )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome


async def _guarded(awaitable: Awaitable[None]) -> None:
    """Await an engine's own `start` or `stop`."""
    try:
        await awaitable
    except OumiError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise _broken(error) from error


def _made(engine_class: type[Engine], config: EngineConfig) -> Engine:
    try:
        engine = engine_class(config)
    except OumiError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise _broken(error) from error
    if not hasattr(engine, "config"):
        engine.config = config  # its constructor did not call that of `Engine`
    return engine


def _broken(error: BaseException) -> EngineError:
    # Unlike in the answer to a row there is no prompt in it, and what a library says here (a driver
    # that is missing, memory that is not there) is what its user needs.
    lines = str(error).splitlines()
    said = f": {lines[0][:300]}" if lines else ""
    reason = f"the engine cannot be brought up: {type(error).__name__}{said}"
    return EngineError(Failure(FailureKind.ENGINE_DEAD, reason))


def _close_later(engines: EnginesInUse) -> None:
    # Not waited for: the garbage collector may run in any thread, the loop's too.
    if engines.has_any():
        run_soon(engines.close)

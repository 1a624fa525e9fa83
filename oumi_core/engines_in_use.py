"""The engines that one `InferenceEngine` has made, started once and stopped once."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

import attrs

from oumi_core.errors import ConfigError
from oumi_core.loop import Job, close_at_exit

if TYPE_CHECKING:
    from oumi_core.engine import Engine
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
        self._starting = asyncio.Lock()
        self._closed = False
        # If the owner is dropped without `close`, its engines must not live on.
        weakref.finalize(owner, _close_later, self).atexit = False

    async def get(self, plan: Plan) -> Engine:
        """A started engine for `plan`, its constraint checked.

        Raises:
            ConfigError: the engine was closed; or it cannot hold the plan's constraint.
            EngineError: it cannot be brought up.
        """
        engine = await self.start(plan)
        constraint = plan.constraint
        if constraint is not None and constraint.kind in engine.capabilities.guided:
            await engine.check_constraint(constraint)
        return engine

    async def start(self, plan: Plan) -> Engine:
        """A started engine for `plan`; raises as `get`."""
        async with self._starting:
            if self._closed:
                raise ConfigError("the engine was closed; make a new one")
            for engine in self._engines:
                rest = attrs.evolve(plan.engine_config, model=engine.config.model)
                if rest == engine.config and engine.serves(plan.model):
                    return engine
            engine = self._class(plan.engine_config)
            await engine.start()
            self._engines.append(engine)
            close_at_exit(self, self.close)
            return engine

    def has_any(self) -> bool:
        """True if there is an engine to stop."""
        return bool(self._engines)

    async def close(self) -> None:
        """Stop all engines; afterwards none is handed out."""
        async with self._starting:
            self._closed = True
            close_at_exit(self, None)
            while self._engines:
                await self._engines.pop().stop()


def _close_later(engines: EnginesInUse) -> None:
    # Not waited for: the garbage collector may run in any thread, the loop's too.
    if engines.has_any():
        Job(engines.close())

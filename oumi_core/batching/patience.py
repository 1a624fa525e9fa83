"""Calls that steer a batch: within the run's limits, tried again as its policy says.

They have more patience than a row.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from oumi_core.batching.leave import given_by
from oumi_core.errors import EngineError, OumiError, RunStopped
from oumi_core.run.governor import Wish
from oumi_core.run.governors import governor_of
from oumi_core.run.limits import limits_of
from oumi_core.run.retry import History, Retry, StopRun
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oumi_core.engine import Engine
    from oumi_core.run.governor import Governor
    from oumi_core.run.plan import Plan
    from oumi_core.run.retry import RetryPolicy

__all__ = ["Patience", "may_have_arrived"]

T = TypeVar("T")

_RETRIES: Final = 8
_LONGEST_WAIT: Final = 60.0
"""A batch lives for hours: so many retries, and such waits between them, cost it little."""

_NO_TOKENS: Final = {"input_tokens": 0, "output_tokens": 0}

_UNCLEAR: Final = frozenset({FailureKind.TRANSIENT, FailureKind.TIMEOUT, FailureKind.INTERNAL})


def may_have_arrived(failure: Failure) -> bool:
    """True if a call that failed so may have been carried out all the same."""
    return failure.kind in _UNCLEAR


class Patience:
    """Makes calls, and makes them again.

    Each request counts for `requests_per_minute`: the first of a call, and every other for which a
    backend asks by `next_request`. They count together with the rows of runs that ask the same
    server, and wait with them where the server says how long to wait.

    Args:
        plan: how the server is to be treated.
        engine: makes the engine whose server is called, which is not started; None if a call asks
            no server.
    """

    def __init__(self, plan: Plan, engine: Callable[[], Engine] | None = None) -> None:
        self._plan = plan
        self._engine = engine
        self._governor: Governor | None = None
        remote = plan.remote
        policy: type[RetryPolicy] = type(plan.policy)
        self._policy = policy(
            attrs.evolve(
                remote,
                max_retries=max(remote.max_retries, _RETRIES),
                retry_backoff_max=max(remote.retry_backoff_max, _LONGEST_WAIT),
            )
        )

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """What `make` gives, at the first try or a later one.

        Raises:
            EngineError: it failed, for good or too often.
            RunStopped: it failed in a way that asking again now does not mend (an account).
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        retries = rate_limited = 0
        while True:
            try:
                return await self._within_limits(make)
            except (OumiError, asyncio.CancelledError) as error:
                if not isinstance(error, EngineError):
                    raise
                failure = error.failure
            except Exception as error:
                kind = type(error).__name__
                raise EngineError(
                    Failure(FailureKind.INTERNAL, f"the batch backend raised {kind}")
                ) from error
            history = History(started, retries, rate_limited, succeeded=1, failed_in_a_row=1)
            decision = self._policy.decide(failure, history, loop.time())
            if isinstance(decision, StopRun):
                why = f"{failure.kind.value}: {failure.message}"
                if decision.reason is not None:
                    why = f"{why}: {decision.reason}"
                raise RunStopped(why, failure=failure)
            if not isinstance(decision, Retry):
                raise EngineError(failure)
            if decision.shared:
                rate_limited += 1
                if self._governor is not None:
                    self._governor.pause(decision.after)
            else:
                rate_limited, retries = 0, retries + 1
            await asyncio.sleep(decision.after)

    async def _within_limits(self, make: Callable[[], Awaitable[T]]) -> T:
        if self._engine is None:
            return await make()
        remote = attrs.evolve(self._plan.remote, politeness_policy=0.0)  # that is of workers
        limits = [limit for limit in limits_of(remote, 1) if limit.unit == "requests"]
        wish = Wish(tuple(limits), _NO_TOKENS, adaptive=False)
        governor = self._governor
        if governor is None:
            scope = self._engine().limit_scope(self._plan.model)
            governor = self._governor = governor_of(scope)
            governor.count(limits)

        async def leave() -> None:
            governor.end(await governor.admit(wish), None, None)

        ticket = await governor.admit(wish)
        try:
            with given_by(leave):
                made = await make()
        except EngineError as error:
            governor.end(ticket, None, error.failure)
            raise
        except BaseException:  # whatever it is, the call is over
            governor.cancelled(ticket)
            raise
        governor.end(ticket, None, None)
        return made

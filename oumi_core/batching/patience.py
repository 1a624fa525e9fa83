"""Calls that steer a batch: tried again as the run's policy says, with more patience than a row."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from oumi_core.errors import EngineError, OumiError, RunStopped
from oumi_core.run.retry import History, Retry, StopRun
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from oumi_core.run.plan import Plan
    from oumi_core.run.retry import RetryPolicy

__all__ = ["Patience", "may_have_arrived"]

T = TypeVar("T")

_RETRIES: Final = 8
_LONGEST_WAIT: Final = 60.0
"""A batch lives for hours: so many retries, and such waits between them, cost it little."""

_UNCLEAR: Final = frozenset({FailureKind.TRANSIENT, FailureKind.TIMEOUT, FailureKind.INTERNAL})


def may_have_arrived(failure: Failure) -> bool:
    """True if a call that failed so may have been carried out all the same."""
    return failure.kind in _UNCLEAR


class Patience:
    """Makes calls, and makes them again."""

    def __init__(self, plan: Plan) -> None:
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
                return await make()
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
            else:
                rate_limited, retries = 0, retries + 1
            await asyncio.sleep(decision.after)

"""What follows a failure: a policy is a value that decides and never sleeps."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import attrs

from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.configs import RemoteParams
    from oumi_core.types.failure import Failure

__all__ = [
    "Decision",
    "GiveUp",
    "History",
    "NoRetryPolicy",
    "Retry",
    "RetryPolicy",
    "StandardRetryPolicy",
    "StopRun",
    "depends_on_no_row",
]


@attrs.frozen
class Retry:
    """Send the row again.

    Attributes:
        after: seconds to wait first, at least 0.
        shared: True if nobody else may send to that server meanwhile either (a rate limit).
    """

    after: float
    shared: bool = False


@attrs.frozen
class GiveUp:
    """The row has failed; the run goes on."""


@attrs.frozen
class StopRun:
    """The row has failed, and so would all others: start none.

    Attributes:
        reason: for the user: why, and what to do; None to let the failure speak for itself.
    """

    reason: str | None = None


Decision = Retry | GiveUp | StopRun


@attrs.frozen
class History:
    """What a policy may look at beside the failure.

    Attributes:
        started: when the row was first sent, on the clock that `now` is read from; seconds.
        retries: how often it was sent again, waits for a rate limit not counted.
        rate_limited: how often in a row the server has asked it to wait.
        succeeded: rows of this run that succeeded so far.
        failed_in_a_row: attempts of this run, of any row, that failed since one succeeded; this
            one included.
        failing_since: when the first of those failed, on the same clock; None if it is this one.
        budget_left: False if the retries of all rows on this server have used up their budget.
        alike_in_a_row: rows in a row, this one included, that met a failure which
            `depends_on_no_row`; 0 if this one did not.
    """

    started: float
    retries: int
    rate_limited: int
    succeeded: int
    failed_in_a_row: int
    budget_left: bool = True
    alike_in_a_row: int = 0
    failing_since: float | None = None


class RetryPolicy(ABC):
    """What an author of a retry policy writes.

    Attributes:
        contract: the version of this contract that the class was written for.
    """

    contract: ClassVar[int] = 1

    def __init__(self, params: RemoteParams) -> None:
        self.params = params

    @abstractmethod
    def decide(self, failure: Failure, history: History, now: float) -> Decision:
        """Say what follows a failure. Does not wait, and reads no clock but `now` (seconds)."""


class NoRetryPolicy(RetryPolicy):
    """`none`: nothing is sent twice; failures that every row would meet still stop the run."""

    def decide(self, failure: Failure, history: History, now: float) -> Decision:  # noqa: ARG002
        """Stop for account errors and a dead engine, else give the row up."""
        return StopRun() if failure.stops_run else GiveUp()


_MOST_HINT = 120.0
"""Seconds: a server that asks for a longer wait ends the run, to be continued then."""

_HINT_SLACK = 0.1
"""Workers that were told the same time come back spread over a tenth of it."""

_HOPELESS_AFTER = 50
"""So many failed attempts in a row are the server's doing or the config's, and not the rows'."""

_OUTAGE_AFTER = 20
"""So many failed attempts in a row, after rows that succeeded: the server is down for everybody."""

_LONGEST_OUTAGE = 300.0
"""Seconds that a run waits for a server that answered before: it may be restarted, and a model
takes minutes to load."""

_MAY_PASS = (FailureKind.RATE_LIMIT, FailureKind.TRANSIENT, FailureKind.TIMEOUT)

_SAME_FOR_ALL = 3
"""So many rows in a row with an error that does not depend on the row mean that all meet it."""


class StandardRetryPolicy(RetryPolicy):
    """`standard`: one policy for servers and engines of all kinds.

    - An account that may not or cannot (401, quota) and a dead engine stop the run. What does not
      depend on the row (403, 404) stops it if no row has succeeded, or three in a row meet it.
    - A request that is wrong fails its row at once. If the first fifty all are, the run stops.
    - A rate limit makes everybody wait as long as the server says, up to a tenth longer, and is
      never counted as a retry. If a row cannot wait any longer for a server that has let nothing
      through in fifty attempts, the run stops.
    - A server that asks for a wait beyond 120 s, for whatever reason, stops the run.
    - What may pass by itself is sent again at most `max_retries` times, after a random time
      between 0 and `retry_backoff_base` doubled with each (at most `retry_backoff_max`), or after
      the server's hint if that is longer. The first time that all retries on a server have used
      up their budget, rows fail at once; if nothing succeeds at all then, the run stops.
    - Where rows have succeeded and then twenty attempts in a row fail of what may pass, the server
      is down, and no row is to blame: everybody waits, as for a rate limit. After 300 s without
      an answer the run stops.

    The run itself sees to `row_deadline`, whatever the policy.
    """

    def __init__(
        self, params: RemoteParams, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        """As the base; `uniform` draws the jitter, for tests."""
        super().__init__(params)
        self._uniform = uniform

    def decide(self, failure: Failure, history: History, now: float) -> Decision:
        """See the class."""
        if failure.kind in _MAY_PASS:
            return self._wait(failure, history, now)
        if depends_on_no_row(failure):
            hopeless = not history.succeeded or history.alike_in_a_row >= _SAME_FOR_ALL
            return StopRun() if hopeless else GiveUp()
        if failure.kind is FailureKind.BAD_REQUEST and not history.succeeded:
            failed = history.failed_in_a_row
            if failed >= _HOPELESS_AFTER:
                return StopRun(
                    f"{failed} attempts failed and none succeeded; correct what the rows share"
                )
        return StopRun() if failure.stops_run else GiveUp()

    def _wait(self, failure: Failure, history: History, now: float) -> Decision:
        hint = failure.retry_after or 0.0
        if hint > _MOST_HINT:
            return StopRun(f"the server asks to wait {hint:.0f} s; run the same again then")
        if failure.kind is FailureKind.RATE_LIMIT:
            return self._wait_for_limit(hint, history, now)
        if history.succeeded and history.failed_in_a_row >= _OUTAGE_AFTER:
            return self._wait_for_server(hint, history, now)
        return self._try_again(hint, history)

    def _wait_for_limit(self, hint: float, history: History, now: float) -> Decision:
        # The server knows best when it has room again; without its word the wait grows.
        wait = self._spread(hint) if hint else self._backoff(history.rate_limited)
        wait = max(wait, self.params.politeness_policy)
        most = self.params.row_deadline
        late = most is not None and now + wait > history.started + most
        if late and history.failed_in_a_row >= _HOPELESS_AFTER:
            return StopRun(
                f"the server has let nothing through in {history.failed_in_a_row} attempts, and "
                f"row_deadline ({most:g} s) is over; run the same again when it does"
            )
        return Retry(wait, shared=True)

    def _wait_for_server(self, hint: float, history: History, now: float) -> Decision:
        since = now if history.failing_since is None else history.failing_since
        if now - since > _LONGEST_OUTAGE:
            return StopRun(
                f"the server has answered nothing for {now - since:.0f} s "
                f"({history.failed_in_a_row} attempts); run the same again when it is well"
            )
        return Retry(self._pause(history.rate_limited, hint), shared=True)

    def _try_again(self, hint: float, history: History) -> Decision:
        if not history.budget_left:
            if history.failed_in_a_row >= _HOPELESS_AFTER:
                return StopRun(
                    f"{history.failed_in_a_row} attempts in a row failed and the retry budget is "
                    "used up; run the same again when the server is well"
                )
            return GiveUp()
        if history.retries >= self.params.max_retries:
            return GiveUp()
        return Retry(self._pause(history.retries, hint))

    def _pause(self, times: int, hint: float) -> float:
        return max(self._backoff(times), self._spread(hint), self.params.politeness_policy)

    def _backoff(self, times: int) -> float:
        """Full jitter over an exponential backoff."""
        params = self.params
        # 2.0 ** 60 s is beyond any cap, and a larger exponent would overflow.
        most = min(params.retry_backoff_max, params.retry_backoff_base * 2.0 ** min(times, 60))
        return self._uniform(0, most)

    def _spread(self, hint: float) -> float:
        return hint * (1 + self._uniform(0, _HINT_SLACK))


def depends_on_no_row(failure: Failure) -> bool:
    """True for a failure that likely every row would meet (403, 404): of a model or a key."""
    forbidden = failure.kind is FailureKind.AUTH and failure.status == 403  # noqa: PLR2004 - HTTP
    return forbidden or failure.kind is FailureKind.NOT_FOUND

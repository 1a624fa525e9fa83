"""One try of a row: leave to send, the engine, and what follows if it failed."""

from __future__ import annotations

import asyncio
import math
import traceback
from typing import TYPE_CHECKING

import attrs

from oumi_core.run.governor import Wish
from oumi_core.run.governors import governor_of
from oumi_core.run.limits import limits_of
from oumi_core.run.retry import GiveUp, History, Retry, StopRun, depends_on_no_row
from oumi_core.types.completion import Usage
from oumi_core.types.conversation import Conversation
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.result import Result

if TYPE_CHECKING:
    from typing import Any

    from oumi_core.engine import Engine, Request
    from oumi_core.run.governor import Ticket
    from oumi_core.run.plan import Plan
    from oumi_core.run.retry import Decision
    from oumi_core.run.row import Row
    from oumi_core.run.turns import Turn

__all__ = ["Again", "Attempts"]

_CHARACTERS_A_TOKEN = 4
"""How prompts are estimated before their tokens are known; settled with the real count."""

_ANY_ERROR = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
"""All that a coroutine can raise, but for its own end."""

_ASK_AGAIN = 2
"""So often an answer that is cut, empty or a refusal is asked for again, if that is wanted."""


@attrs.frozen
class Again:
    """The row is to be sent again.

    Attributes:
        after: seconds from now, at least.
    """

    after: float


class Attempts:
    """Sends the rows of one run, as often as the retry policy says.

    A row has until `row_deadline` after it was first sent. Then it is cut, wherever it is.

    Attributes:
        stopped_by: the failure that no other row would escape; None while there is none.
    """

    def __init__(self, row: Row, engine: Engine, plan: Plan, num_workers: int) -> None:
        generation = plan.generation
        self._policy = plan.policy
        self._row = row
        self._deadline = math.inf if plan.remote.row_deadline is None else plan.remote.row_deadline
        self._clock = asyncio.get_running_loop().time
        self._governor = governor_of(engine.limit_scope(plan.model))
        limits = limits_of(plan.remote, num_workers)
        self._governor.count(limits)
        adaptive = engine.remote and plan.remote.use_adaptive_concurrency
        self._wish = Wish(limits, {}, adaptive)
        self._choices = {
            FailureKind.TRUNCATED: generation.on_truncated,
            FailureKind.EMPTY: generation.on_empty,
            FailureKind.REFUSAL: generation.on_refused,
        }
        guided = generation.guided_decoding
        self._max_reasks = guided.max_reasks if guided is not None else 0
        self._succeeded = 0
        self._failed_in_a_row = 0
        self._failing_since: float | None = None
        self._alike_in_a_row = 0
        self._stopped = False
        self._waiting: set[asyncio.Task[Any]] = set()
        self.stopped_by: Failure | None = None

    async def send(
        self, turn: Turn[Any], conversation: Conversation, task: asyncio.Task[Any]
    ) -> Result | Again:
        """Try a row once, in the running task `task`: its result, or when to try it again.

        A run that was stopped tries nothing again.
        """
        row, governor, clock = self._row, self._governor, self._clock
        deadlines = governor.deadlines
        if turn.started is not None:
            deadlines.set(task, turn.started + self._deadline)
        ticket: Ticket | None = None
        try:
            # As `admit`; a coroutine within this one would cost every row 0.3 us.
            wish = self._wish_for(turn, conversation) if governor.counts_tokens else self._wish
            ticket = governor.admit_now(wish) or await self._leave(wish, task)
            if ticket is None:
                deadlines.clear(task)
                return Again(0.0)
            turn.attempts += 1
            if turn.started is None:
                turn.started = ticket.started
                deadlines.set(task, ticket.started + self._deadline)
            completion = await row.ask(turn.index, conversation, turn.request)
            result = row.judge(turn.index, conversation, completion, clock() - ticket.started)
        except _ANY_ERROR as error:  # the engine is a stranger's code
            if ticket is None or _is_canceled(error, task):
                if ticket is not None:
                    governor.cancelled(ticket)
                if turn.started is None or not deadlines.clear(task):
                    raise  # not cut: a row has no deadline before it was first sent
                return self._overdue(turn, conversation)
            result = row.failed(turn.index, conversation, error, clock() - ticket.started)
        cut = deadlines.clear(task)
        governor.end(ticket, result.usage, result.error)
        if result.error is None:
            self._succeeded += 1
            self._failed_in_a_row = self._alike_in_a_row = 0
            return result if turn.attempts == 1 else self.finished(turn, result)
        if cut:
            return self._overdue(turn, conversation)
        return self._after(turn, result, result.error)

    async def _leave(self, wish: Wish, task: asyncio.Task[Any]) -> Ticket | None:
        """Wait for leave to send; None if the run is stopped before."""
        if self._stopped:
            return None
        self._waiting.add(task)
        try:
            return await self._governor.admit(wish)
        except asyncio.CancelledError:
            if task in self._waiting or task.uncancel():
                raise  # not by `stop`, or not by it alone
            return None
        finally:
            self._waiting.discard(task)

    def stop(self) -> None:
        """Let no row that waits for leave be sent; those that were sent go on."""
        self._stopped = True
        while self._waiting:
            self._waiting.pop().cancel()

    def _after(self, turn: Turn[Any], result: Result, failure: Failure) -> Result | Again:
        asks = self._asks_again(turn, result, failure.kind)
        outcome = Again(0.0) if asks else self.follow(turn, failure)
        if isinstance(outcome, Again):
            if result.usage is not None:
                turn.earlier_usage = (turn.earlier_usage or Usage()) + result.usage
            return outcome
        return self.finished(turn, attrs.evolve(result, error=outcome))

    def has_succeeded(self) -> None:
        """Count a row that an earlier run answered: not all rows meet what comes now."""
        self._succeeded += 1

    async def admit(self, turn: Turn[Any], conversation: Conversation) -> Ticket:
        """Wait for leave to send a row, and count the attempt; follow it by `ended`."""
        governor = self._governor
        wish = self._wish_for(turn, conversation) if governor.counts_tokens else self._wish
        ticket = governor.admit_now(wish) or await governor.admit(wish)
        turn.attempts += 1
        if turn.started is None:
            turn.started = ticket.started
        return ticket

    def ended(self, ticket: Ticket, usage: Usage | None, failure: Failure | None) -> None:
        """An attempt that was admitted has ended, with an answer or with what kept it from one."""
        self._governor.end(ticket, usage, failure)

    def cancelled(self, ticket: Ticket) -> None:
        """An attempt that was admitted was given up by whoever waited for it."""
        self._governor.cancelled(ticket)

    def _overdue(self, turn: Turn[Any], conversation: Conversation) -> Result:
        failure = self.overdue()
        self._count(failure, self._clock())
        return self.finished(turn, Result(turn.index, conversation, error=failure))

    def overdue(self) -> Failure:
        """The failure of a row that was cut at its deadline."""
        return Failure(
            FailureKind.TIMEOUT,
            f"no answer within remote_params.row_deadline ({self._deadline:g} s)",
        )

    def due(self, turn: Turn[Any]) -> float | None:
        """When a row is to be cut, on the loop's clock; None if never, or not known yet."""
        if turn.started is None or self._deadline == math.inf:
            return None
        return turn.started + self._deadline

    def _wish_for(self, turn: Turn[Any], conversation: Conversation) -> Wish:
        request = turn.request
        own = self._row.max_new_tokens(conversation)  # a row may bring its own
        prompt = conversation if request is None else request.conversation
        characters = 0
        if isinstance(prompt, Conversation):  # else the row is refused before it is sent
            characters = sum(len(message.text) for message in prompt.messages)
        amounts = {
            "input_tokens": characters // _CHARACTERS_A_TOKEN + 1,
            "output_tokens": own if request is None else request.generation.max_new_tokens,
        }
        return attrs.evolve(self._wish, amounts=amounts)

    def _asks_again(self, turn: Turn[Any], result: Result, kind: FailureKind) -> bool:
        """True if another answer is to be asked for; the turn then holds what to send."""
        if result.completion is None or self._is_late(turn, 0.0):
            return False
        request = turn.request or self._row.request(turn.index, result.conversation)
        if turn.asked_again < _ASK_AGAIN and self._choices.get(kind) == "ask_again":
            if kind is FailureKind.TRUNCATED:
                request = _with_more_tokens(request)
        elif turn.asked_again < self._max_reasks and kind is FailureKind.INVALID_OUTPUT:
            try:
                reasked = self._row.reasked(request, result.completion)
            except Exception:  # noqa: BLE001 - a decoder's defect; the row has its failure already
                reasked = None
            if reasked is None:
                return False
            request = reasked
        else:
            return False
        turn.request = request
        turn.asked_again += 1
        return True

    def follow(self, turn: Turn[Any], failure: Failure, *, final: bool = False) -> Again | Failure:
        """What follows a failed attempt: another one, or the failure that the row ends with.

        Args:
            turn: the row; was admitted.
            failure: how the attempt failed.
            final: True if the row cannot be tried again; others may still have to wait for it.
        """
        now = asyncio.get_running_loop().time()
        self._count(failure, now)
        decision, defect = self._decide(turn, failure, now)
        if defect is not None:
            failure = attrs.evolve(failure, message=f"{failure.message}; {defect}")
        match decision:
            case Retry(after, shared):
                if shared:
                    self._governor.pause(after)
                if final:
                    return failure
                if self._is_late(turn, after):
                    late = f"another try would pass row_deadline ({self._deadline:g} s)"
                    return attrs.evolve(failure, message=f"{failure.message}; {late}")
                return self._again(turn, failure, after, shared=shared)
            case StopRun(reason):
                message = failure.message if reason is None else f"{failure.message}: {reason}"
                self.stopped_by = self.stopped_by or attrs.evolve(failure, message=message)
            case GiveUp():
                pass
        return failure

    def _count(self, failure: Failure, now: float) -> None:
        if not self._failed_in_a_row:
            self._failing_since = now
        self._failed_in_a_row += 1
        if depends_on_no_row(failure):
            self._alike_in_a_row += 1
        elif not failure.retryable:  # else it says nothing about the row
            self._alike_in_a_row = 0

    def _decide(self, turn: Turn[Any], failure: Failure, now: float) -> tuple[Decision, str | None]:
        """What the policy says; if it fails to, the safe thing, and what is wrong with it."""
        history = History(
            started=now if turn.started is None else turn.started,
            retries=turn.retries,
            rate_limited=turn.rate_limited,
            succeeded=self._succeeded,
            failed_in_a_row=self._failed_in_a_row,
            budget_left=self._governor.may_retry(failure),
            alike_in_a_row=self._alike_in_a_row if depends_on_no_row(failure) else 0,
            failing_since=self._failing_since,
        )
        try:
            decision = self._policy.decide(failure, history, now)
        except Exception as error:  # noqa: BLE001 - policies are strangers' code
            place = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"raised {type(error).__name__} at {place.filename}:{place.lineno}"
        else:
            fault = _fault(decision)
            if not fault:
                return decision, None
        safe = StopRun() if failure.stops_run else GiveUp()
        return safe, f"the retry policy {type(self._policy).__name__} {fault}"

    def _is_late(self, turn: Turn[Any], after: float) -> bool:
        now = asyncio.get_running_loop().time()
        return turn.started is not None and now + after > turn.started + self._deadline

    def _again(self, turn: Turn[Any], failure: Failure, after: float, *, shared: bool) -> Again:
        if shared:
            turn.rate_limited += 1
        else:
            turn.rate_limited = 0
            turn.retries += 1
            self._governor.spend_retry(failure)
        return Again(after)

    def finished(self, turn: Turn[Any], result: Result) -> Result:
        """The result, with all the row's tries in it."""
        now = asyncio.get_running_loop().time()
        latency = now - turn.started if turn.started is not None else result.latency
        earlier = turn.earlier_usage
        return attrs.evolve(result, attempts=turn.attempts, latency=latency, earlier_usage=earlier)


def _is_canceled(error: BaseException, task: asyncio.Task[Any]) -> bool:
    """True if somebody canceled the task; else something inside the engine was."""
    return isinstance(error, asyncio.CancelledError) and task.cancelling() > 0


def _fault(decision: object) -> str:
    """What is wrong with what a policy returned; empty if nothing is."""
    if isinstance(decision, Retry):
        fits = 0 <= decision.after < math.inf
        return "" if fits else f"asks to wait {decision.after} s"
    if isinstance(decision, GiveUp | StopRun):
        return ""
    return f"returned {type(decision).__name__}, no decision"


def _with_more_tokens(request: Request) -> Request:
    budget = 2 * request.generation.max_new_tokens
    return attrs.evolve(request, generation=attrs.evolve(request.generation, max_new_tokens=budget))

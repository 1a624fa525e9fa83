"""One try of a row: leave to send, the engine, and what follows if it failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from oumi_core.run.governor import Wish, governor_of
from oumi_core.run.limits import limits_of
from oumi_core.run.retry import GiveUp, History, Retry, StopRun
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from typing import Any

    from oumi_core.engine import Engine, Request
    from oumi_core.run.plan import Plan
    from oumi_core.run.row import Row
    from oumi_core.run.turns import Turn
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.failure import Failure
    from oumi_core.types.result import Result

__all__ = ["Again", "Attempts"]

_CHARACTERS_A_TOKEN = 4
"""How prompts are estimated before their tokens are known; settled with the real count."""


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

    Attributes:
        stopped_by: the failure that no other row would escape; None while there is none.
    """

    def __init__(self, row: Row, engine: Engine, plan: Plan, num_workers: int) -> None:
        params = plan.policy.params
        self._policy = plan.policy
        self._row = row
        self._governor = governor_of(engine.limit_scope(plan.model))
        limits = limits_of(params, num_workers)
        adaptive = engine.remote and params.use_adaptive_concurrency
        self._wish = Wish(limits, {"output_tokens": plan.generation.max_new_tokens}, adaptive)
        generation = plan.generation
        self._choices = {
            FailureKind.TRUNCATED: generation.on_truncated,
            FailureKind.EMPTY: generation.on_empty,
            FailureKind.REFUSAL: generation.on_refused,
        }
        guided = generation.guided_decoding
        self._max_reasks = guided.max_reasks if guided is not None else 0
        self._counts_input = any(limit.unit == "input_tokens" for limit in limits)
        self._succeeded = 0
        self._failed_in_a_row = 0
        self.stopped_by: Failure | None = None

    async def send(self, turn: Turn[Any], conversation: Conversation) -> Result | Again:
        """Try a row once: its result, or when to try it again."""
        governor = self._governor
        wish = self._wish_for(conversation) if self._counts_input else self._wish
        ticket = governor.admit_now(wish) or await governor.admit(wish)
        if turn.started is None:
            turn.started = ticket.started
        turn.attempts += 1
        result: Result | None = None
        try:
            result = await self._row.answer(turn.index, conversation, turn.request)
        finally:
            usage = result.usage if result is not None else None
            governor.end(ticket, usage, result.error if result is not None else None)
        if result.error is None:
            self._succeeded += 1
            self._failed_in_a_row = 0
            return result if turn.attempts == 1 else self._finished(turn, result)
        if self._asks_again(turn, result, result.error.kind):
            return Again(0.0)
        return self._after(turn, result, result.error)

    def _asks_again(self, turn: Turn[Any], result: Result, kind: FailureKind) -> bool:
        """True if another answer is to be asked for; the turn then holds what to send."""
        if result.completion is None:
            return False
        request = turn.request or self._row.request(turn.index, result.conversation)
        if turn.asked_again < _ASK_AGAIN and self._choices.get(kind) == "ask_again":
            if kind is FailureKind.TRUNCATED:
                request = _with_more_tokens(request)
        elif turn.asked_again < self._max_reasks and kind is FailureKind.INVALID_OUTPUT:
            reasked = self._row.reasked(request, result.completion)
            if reasked is None:
                return False
            request = reasked
        else:
            return False
        turn.request = request
        turn.asked_again += 1
        return True

    def _wish_for(self, conversation: Conversation) -> Wish:
        characters = sum(len(message.text) for message in conversation.messages)
        estimate = characters // _CHARACTERS_A_TOKEN + 1
        amounts = {**self._wish.amounts, "input_tokens": estimate}
        return attrs.evolve(self._wish, amounts=amounts)

    def _after(self, turn: Turn[Any], result: Result, failure: Failure) -> Result | Again:
        now = asyncio.get_running_loop().time()
        self._failed_in_a_row += 1
        history = History(
            started=now if turn.started is None else turn.started,
            retries=turn.retries,
            rate_limited=turn.rate_limited,
            succeeded=self._succeeded,
            failed_in_a_row=self._failed_in_a_row,
            budget_left=self._governor.may_retry(failure),
        )
        match self._policy.decide(failure, history, now):
            case Retry(after, shared):
                return self._again(turn, failure, after, shared=shared)
            case StopRun(reason):
                message = failure.message if reason is None else f"{failure.message}: {reason}"
                self.stopped_by = self.stopped_by or attrs.evolve(failure, message=message)
            case GiveUp():
                pass
        return self._finished(turn, result)

    def _again(self, turn: Turn[Any], failure: Failure, after: float, *, shared: bool) -> Again:
        if shared:
            turn.rate_limited += 1
            self._governor.pause(after)
        else:
            turn.rate_limited = 0
            turn.retries += 1
            self._governor.spend_retry(failure)
        return Again(after)

    def _finished(self, turn: Turn[Any], result: Result) -> Result:
        """The result, with all the row's tries in it."""
        now = asyncio.get_running_loop().time()
        latency = now - turn.started if turn.started is not None else result.latency
        return attrs.evolve(result, attempts=turn.attempts, latency=latency)


def _with_more_tokens(request: Request) -> Request:
    budget = 2 * request.generation.max_new_tokens
    return attrs.evolve(request, generation=attrs.evolve(request.generation, max_new_tokens=budget))

"""Attempts of a run that has a budget: each is sent when it fits, and settled when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oumi_core.run.attempts import Again, Attempts
from oumi_core.run.budget import most_of
from oumi_core.types.completion import Usage

if TYPE_CHECKING:
    import asyncio

    from oumi_core.engine import Engine
    from oumi_core.run.budget import Budget
    from oumi_core.run.plan import Plan
    from oumi_core.run.row import Row
    from oumi_core.run.turns import Turn
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.result import Result

__all__ = ["BudgetedAttempts"]


class BudgetedAttempts(Attempts):
    """Sends rows as `Attempts` does, while the budget lasts."""

    def __init__(
        self, row: Row, engine: Engine, plan: Plan, num_workers: int, budget: Budget
    ) -> None:
        super().__init__(row, engine, plan, num_workers)
        self._budget = budget

    async def send(
        self, turn: Turn[Any], conversation: Conversation, task: asyncio.Task[Any]
    ) -> Result | Again:
        """As `Attempts.send`; the budget has stopped the run when it refuses a row."""
        request = turn.request
        if request is None:
            most = most_of(conversation, self._row.max_new_tokens(conversation))
        else:
            most = most_of(request.conversation, request.generation.max_new_tokens)
        if not await self._budget.take(most):
            return Again(0.0)
        if self._stopped:  # since it was granted
            self._budget.settle(most, None)
            return Again(0.0)
        before, asked_again = turn.earlier_usage, turn.asked_again
        outcome = await super().send(turn, conversation, task)
        if isinstance(outcome, Again):
            answered, counted = turn.asked_again > asked_again, turn.earlier_usage
        else:
            answered, counted = outcome.completion is not None, outcome.total_usage
        used = None
        if counted is not None and counted is not before:
            used = counted - (before or Usage())
        elif answered:
            used = most  # nobody has counted: the most that it can have been
            turn.assumed_usage = (turn.assumed_usage or Usage()) + most
        self._budget.settle(most, used)
        return outcome

    def stop(self) -> None:
        """As `Attempts.stop`, also for what waits for the budget."""
        super().stop()
        self._budget.stop()

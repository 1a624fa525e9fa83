"""What a job may spend: whether a row may be sent is decided before it is.

A row is sent when all that it may take still fits: the bytes of its text, which no tokenizer turns
into more tokens, and `max_new_tokens`. Until its answer is there, so much is reserved. Near the end
rows therefore wait for those in flight; if there are none, and the next one does not fit, the run
stops. So what is spent passes the budget only by what no text shows, of the rows in flight at the
end: the tokens of images, and what a server adds to a prompt.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import attrs

from oumi_core.run.price import price_of
from oumi_core.types.completion import Usage
from oumi_core.types.conversation import Conversation
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from oumi_core.configs import BudgetParams
    from oumi_core.run.price import Price
    from oumi_core.run.spending import Asked

__all__ = ["Budget", "Expense", "expense_of", "most_of"]

_TEMPLATE = 16
"""Tokens that a chat template may add to a message: its role, and marks around it."""

_LARGER = "raise it and run the same again"


@attrs.frozen
class Expense:
    """What was spent.

    Attributes:
        tokens: of prompts and answers.
        cost: in the currency of the prices.
    """

    tokens: int = 0
    cost: float = 0.0


def expense_of(params: BudgetParams, spent: Iterable[tuple[Asked, Usage]]) -> Expense:
    """What was spent on some models: by the prices of this config, else by those of the time.

    Raises:
        ConfigError: there is a `max_cost`, and no price to count one of them by.
    """
    tokens, cost = 0, 0.0
    for asked, usage in spent:
        price = price_of(params, asked.model, asked.price)
        tokens += usage.total_tokens
        cost += 0.0 if price is None else price.of(usage)
    return Expense(tokens, cost)


def most_of(conversation: Conversation, max_new_tokens: int) -> Usage:
    """The most that a request may take, as far as its text says."""
    if not isinstance(conversation, Conversation):
        return Usage()  # type: ignore[unreachable]  # of untyped callers: refused before it is sent
    tools = conversation.tools or ()
    texts = [
        *(message.text for message in conversation.messages),
        *(str(tool.to_dict()) for tool in tools),
    ]
    tokens = sum(len(text.encode()) + _TEMPLATE for text in texts)
    return Usage(tokens, max_new_tokens)


class Budget:
    """What one job may spend, on one loop.

    Attributes:
        used_up: why no further row may be sent; None while one may.
    """

    def __init__(self, params: BudgetParams, price: Price | None, before: Expense) -> None:
        """Begin with what earlier runs have spent (`before`)."""
        self._params = params
        self._price = price
        self._before = before
        self._spent = Usage()
        self._reserved = Usage()
        self._in_flight = 0
        self._waiting: deque[tuple[Usage, asyncio.Future[bool]]] = deque()
        self._tell: Callable[[], None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self.used_up: Failure | None = None

    def begin(self, began: float, tell: Callable[[], None]) -> None:
        """Watch a run that began at `began` on the loop's clock; `tell` stops it."""
        self._tell = tell
        if self._params.deadline is None:
            return
        loop, due = asyncio.get_running_loop(), began + self._params.deadline
        if due > loop.time():
            self._alarm = loop.call_at(due, self._expire)
        else:  # it took so long to bring the engine up
            self._expire()

    def end(self) -> None:
        """The run has ended."""
        if self._alarm is not None:
            self._alarm.cancel()

    @property
    def spent(self) -> Expense:
        """What the job has spent, earlier runs included."""
        return self._expense(self._spent)

    async def take(self, most: Usage) -> bool:
        """Reserve what a request may take, when that fits; False if it never will."""
        if self.used_up is not None:
            return False
        if not self._waiting and self._fits(most):
            self._reserve(most)
            return True
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((most, granted))
        self._serve()
        return await granted

    def settle(self, most: Usage, used: Usage | None) -> None:
        """A request has ended that `most` was reserved for; None if it cost nothing."""
        self._in_flight -= 1
        self._reserved -= most
        if used is not None:
            self._spent += used
        self._serve()

    def stop(self) -> None:
        """Let nothing more be sent: the run is stopped, by whatever."""
        while self._waiting:
            _, granted = self._waiting.popleft()
            if not granted.done():
                granted.set_result(False)

    def _expire(self) -> None:
        self._use_up(f"budget.deadline ({self._params.deadline:g} s) is over; run the same again")

    def _use_up(self, message: str) -> None:
        self.used_up = self.used_up or Failure(FailureKind.BUDGET, message)
        if self._tell is not None:
            self._tell()
        self.stop()

    def _serve(self) -> None:
        while self._waiting:
            most, granted = self._waiting[0]
            if granted.done():
                self._waiting.popleft()
            elif self._fits(most):
                self._waiting.popleft()
                self._reserve(most)
                granted.set_result(True)
            elif self._in_flight:
                return
            else:
                self._use_up(self._too_much(most))

    def _reserve(self, most: Usage) -> None:
        self._in_flight += 1
        self._reserved += most

    def _expense(self, usage: Usage) -> Expense:
        cost = 0.0 if self._price is None else self._price.of(usage)
        return Expense(self._before.tokens + usage.total_tokens, self._before.cost + cost)

    def _fits(self, most: Usage) -> bool:
        params, after = self._params, self._expense(self._spent + self._reserved + most)
        if params.max_tokens_total is not None and after.tokens > params.max_tokens_total:
            return False
        return params.max_cost is None or after.cost <= params.max_cost

    def _too_much(self, most: Usage) -> str:
        params, spent = self._params, self.spent
        after = self._expense(self._spent + most)
        if params.max_tokens_total is not None and after.tokens > params.max_tokens_total:
            return (
                f"budget.max_tokens_total ({params.max_tokens_total:,}) is used up: "
                f"{spent.tokens:,} tokens, and the next row may take "
                f"{after.tokens - spent.tokens:,}; {_LARGER}"
            )
        return (
            f"budget.max_cost ({params.max_cost:g}) is used up: {spent.cost:.6g} spent, and the "
            f"next row may cost {after.cost - spent.cost:.6g}; {_LARGER}"
        )

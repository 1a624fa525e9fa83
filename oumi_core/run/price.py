"""What tokens cost, by the prices of a config."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Self

import attrs

from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from oumi_core.configs import BudgetParams
    from oumi_core.types.completion import Usage

__all__ = ["Price", "price_of"]

_UNIT = 1e6
"""Tokens that a price is for."""


@attrs.frozen
class Price:
    """What a million tokens of one model cost.

    Attributes:
        input: of prompts.
        output: of answers.
        cached_input: of prompts that the provider had in its cache.
    """

    input: float
    output: float
    cached_input: float

    @classmethod
    def of_config(cls, fields: dict[str, float]) -> Self:
        """The price that a config gives."""
        cached = fields.get("cached_input", fields["input"])
        return cls(fields["input"], fields["output"], cached)

    @classmethod
    def of_text(cls, text: str | None) -> Self | None:
        """A price from its `text`; None from None."""
        return None if text is None else cls(*json.loads(text))

    @property
    def text(self) -> str:
        """The price for a file."""
        return json.dumps([self.input, self.output, self.cached_input])

    def of(self, usage: Usage) -> float:
        """What these tokens cost."""
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens)
        return (
            (usage.prompt_tokens - cached) * self.input
            + cached * self.cached_input
            + usage.completion_tokens * self.output
        ) / _UNIT


def price_of(params: BudgetParams | None, model: str, known: Price | None = None) -> Price | None:
    """The price of a model: by the config, else the one that is known; None without either.

    Raises:
        ConfigError: there is a `max_cost`, and no price to count it by.
    """
    if params is None:
        return known
    fields = params.prices.get(model)
    if fields is not None:
        return Price.of_config(fields)
    if params.max_cost is None or known is not None:
        return known
    near = get_close_matches(model, params.prices, n=1)
    hint = f"; there is one for {near[0]!r}" if near else ""
    raise ConfigError(
        f"budget.prices: no price for the model {model!r}, which max_cost needs{hint}"
    )

"""`BudgetParams`: what a job may spend, and what tokens cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.configs.checks import Check, Faults, integer, mapping, number, optional
from oumi_core.configs.params import Params, param

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

__all__ = ["BudgetParams"]

_PRICE = number(0)
_REQUIRED = ("input", "output")
_KNOWN = (*_REQUIRED, "cached_input")


def _price_faults(value: Any) -> Faults:
    yield from mapping(_PRICE).find(value)
    if not isinstance(value, Mapping):
        return
    for name in _REQUIRED:
        if name not in value:
            yield f".{name}", "is missing"
    for name in value:
        if name not in _KNOWN:
            yield f".{name}", f"unknown key; known ones are {', '.join(_KNOWN)}"


_PRICES = mapping(
    Check(
        _price_faults,
        {
            "type": "object",
            "properties": dict.fromkeys(_KNOWN, _PRICE.schema),
            "required": list(_REQUIRED),
            "additionalProperties": False,
        },
    )
)


@attrs.frozen
class BudgetParams(Params):
    """What a job may spend. A run that would pass it stops, to be continued with a larger one.

    `max_cost` and `max_tokens_total` are for the job: what earlier runs to the same output have
    spent counts, also on rows that failed or have been edited since. They hold for runs; streams,
    chats and batches that a provider runs are not counted.

    Attributes:
        max_cost: the most that the answers may cost, in the currency of `prices`, above 0;
            default: no limit. Needs a price for the model.
        max_tokens_total: the most tokens of prompts and answers together, at least 1; default: no
            limit.
        deadline: seconds from the start of the run after which nothing more is sent, above 0; what
            is in flight then is finished. For each run anew: a continued one has as long again.
            Default: none.
        prices: what a million tokens cost, by the name of the model: `input`, `output`, and
            `cached_input` where the provider's cache is cheaper (as `input` by default). Looked up
            by `model.model_name`; nothing is asked of a network.

    Raises:
        ConfigError: lists every fault.
    """

    max_cost: float | None = param(optional(number(above=0)), None)
    max_tokens_total: int | None = param(optional(integer(1)), None)
    deadline: float | None = param(optional(number(above=0)), None)
    prices: dict[str, dict[str, float]] = param(_PRICES, factory=dict)

    def _relations(self, broken: AbstractSet[str]) -> Iterator[str]:
        if not broken & {"max_cost", "prices"} and self.max_cost is not None and not self.prices:
            yield "max_cost: needs prices; give what a million tokens cost in budget.prices"

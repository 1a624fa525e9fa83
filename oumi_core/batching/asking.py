"""The requests of a batch's rows, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oumi_core.engine import Request
from oumi_core.errors import EngineError
from oumi_core.run.addresses import address_of
from oumi_core.wire.given_body import brings_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.run.plan import Plan
    from oumi_core.run.row import Row
    from oumi_core.types.conversation import Conversation

    Ask = Callable[[int, Conversation], Request]

__all__ = ["as_given", "as_they_came", "of_one_model"]


def as_they_came(plan: Plan) -> Ask:
    """Makes requests for a run that prepares and checks them itself."""

    def ask(index: int, conversation: Conversation) -> Request:
        return Request(conversation, plan.model, plan.generation, plan.constraint, str(index))

    return ask


def of_one_model(row: Row, *, lora: bool) -> Ask:
    """Makes requests as a run does, for a provider whose files hold those of one model.

    Args:
        row: makes the requests of a run.
        lora: True if the engine has adapters, so that rows may name one.
    """

    def ask(index: int, conversation: Conversation) -> Request:
        if address_of(conversation) is not None:
            raise EngineError.bad_request(
                "the row's field model names an adapter, and a provider's batch has one model: "
                "send the rows of each adapter as a batch with model.adapter_model"
            )
        return row.request(index, conversation)

    return ask if lora else row.request


def as_given(plan: Plan, others: Ask) -> Ask:
    """Makes requests for a backend that sends the body that a row brings: nothing is made of it.

    Args:
        plan: the batch's.
        others: makes those of all other rows.
    """

    def ask(index: int, conversation: Conversation) -> Request:
        if not (conversation.extra and brings_body(conversation)):
            return others(index, conversation)
        if plan.constraint is not None:
            why = "the row brings its own request, to which generation.guided_decoding adds nothing"
            raise EngineError.bad_request(f"{why}; leave one of them out")
        return Request(conversation, plan.model, plan.generation, None, str(index))

    return ask

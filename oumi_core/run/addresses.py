"""Rows that name their adapter: the field `model` of a row, as `model@adapter`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from oumi_core.errors import EngineError

if TYPE_CHECKING:
    from oumi_core.configs import ModelParams
    from oumi_core.engine import Engine
    from oumi_core.types.conversation import Conversation

__all__ = ["Addresses", "address_of"]


def address_of(conversation: Conversation) -> str | None:
    """The address in a row; None if it holds none.

    A name without `@` is none: rows in OpenAI's format often carry the name of what answered them
    once.
    """
    name = conversation.extra.get("model")
    return name if isinstance(name, str) and "@" in name else None


class Addresses:
    """Finds the model that an address means, among those that an engine serves.

    What stands before the `@` is the run's model, or nothing; what stands after it is the adapter,
    or nothing for the model itself. Rows of one adapter share one `ModelParams`.
    """

    def __init__(self, engine: Engine, model: ModelParams) -> None:
        self._engine = engine
        self._model = model
        self._known: dict[str, ModelParams] = {}

    def model_of(self, conversation: Conversation) -> ModelParams:
        """The model that a row is for: the run's own, if it does not say.

        Raises:
            EngineError: the engine does not serve it; `bad_request`.
        """
        address = address_of(conversation)
        if address is None or not self._engine.capabilities.lora:
            return self._model
        if address not in self._known:
            self._known[address] = self._read(address)
        return self._known[address]

    def _read(self, address: str) -> ModelParams:
        own = self._model.model_name
        # From the left end of what is known: either name may hold an `@`.
        base, adapter = own, address.removeprefix(own).removeprefix("@")
        if not address.startswith((f"{own}@", "@")):
            base, _, adapter = address.partition("@")
        if base != own:
            raise EngineError.bad_request(
                f"the row's field model asks for {base!r}, and this run is for {own!r}; write "
                "model@adapter with the run's model, or @adapter, or remove the field"
            )
        model = attrs.evolve(self._model, adapter_model=adapter or None)
        if not self._engine.serves(model):
            raise EngineError.bad_request(
                f"the row's field model asks for the adapter {adapter!r}, which the engine was not "
                "loaded with; name it in engine_args.lora_adapters"
            )
        return model

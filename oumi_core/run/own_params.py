"""Rows that bring generation parameters of their own, in the body of their request."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from oumi_core.errors import ConfigError, DataError, EngineError
from oumi_core.run.plan import with_generation
from oumi_core.wire.given_body import FORMAT, given_generation, given_names, given_params

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from oumi_core.engine import Capabilities
    from oumi_core.run.plan import Plan
    from oumi_core.run.row import Row
    from oumi_core.types.conversation import Conversation

__all__ = ["OwnParams"]

_MOST: Final = 256
"""Sets of parameters that are remembered: the rows of a file have few, or each one of its own."""

_encode = msgspec.json.Encoder().encode


@attrs.frozen
class _Own:
    """What answers the rows of one set of parameters.

    Attributes:
        row: does.
        unused: what the engine does not honour of them, by their names in the body.
    """

    row: Row
    unused: tuple[str, ...]


class OwnParams:
    """Finds what answers rows that bring parameters of their own: a `Row` for each set of them.

    Args:
        plan: the run's; holds for what such a row does not ask for.
        capabilities: the engine's.
        make: makes the `Row` of a plan.
    """

    def __init__(self, plan: Plan, capabilities: Capabilities, make: Callable[[Plan], Row]) -> None:
        self._plan = plan
        self._capabilities = capabilities
        self._make = make
        self._known: dict[bytes, _Own] = {}
        self._warned: set[tuple[str, ...]] = set()

    def row_for(self, conversation: Conversation) -> Row | None:
        """What answers a row; None if it brings no parameters.

        What the engine does not honour is warned of once, or refused, as the config says.

        Raises:
            EngineError: the engine cannot be asked for it; `bad_request`.
        """
        params = given_params(conversation)
        if not params:
            return None
        own = self._found(params)
        if own.unused:
            self._report(own.unused)
        return own.row

    def judge_for(self, conversation: Conversation) -> Row | None:
        """What judges the answer to a row: one that was answered is not refused any more."""
        params = given_params(conversation)
        if not params:
            return None
        try:
            return self._found(params).row
        except EngineError:
            return None

    def _found(self, params: Mapping[str, Any]) -> _Own:
        key = _key(params)
        own = self._known.get(key)
        if own is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            own = self._known[key] = self._made(params)
        return own

    def _made(self, params: Mapping[str, Any]) -> _Own:
        honoured = self._capabilities.generation
        base = self._plan.generation
        try:
            generation = given_generation(params, base, sends_rest="extra_body" in honoured)
        except DataError as error:
            raise EngineError.bad_request("; ".join(error.faults)) from error
        try:
            plan = with_generation(self._plan, generation, self._capabilities)
        except ConfigError as error:
            raise EngineError.bad_request(
                f"body.response_format: {'; '.join(error.faults)}"
            ) from error
        if FORMAT in generation.extra_body:
            plan = attrs.evolve(plan, constraint=None)  # it is asked for there, and only checked
        unused = given_names(params, generation.changed() - honoured)
        return _Own(self._make(plan), tuple(unused))

    def _report(self, unused: tuple[str, ...]) -> None:
        fault = f"{', '.join(unused)}: this engine does not use it"
        if self._plan.on_unsupported == "error":
            raise EngineError.bad_request(f"{fault}, and on_unsupported is error")
        if unused not in self._warned:
            self._warned.add(unused)
            warnings.warn(fault, UserWarning, stacklevel=2)


def _key(params: Mapping[str, Any]) -> bytes:
    try:
        return _encode(params)
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineError.bad_request("openai_body: holds what JSON cannot") from error

"""What an author of a guided-decoding backend writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import attrs

from oumi_core.guided.check import Accepted, Fault, checker_for

if TYPE_CHECKING:
    from oumi_core.engine import Capabilities, Request
    from oumi_core.guided.constraint import Constraint
    from oumi_core.types.completion import Completion

__all__ = ["Accepted", "Decoder", "Fault", "Refusal"]


@attrs.frozen
class Refusal:
    """The constraint cannot be had from this engine; nothing is sent.

    Attributes:
        reason: what is missing, and what the user can do.
    """

    reason: str


class Decoder(ABC):
    """Makes the answers of one run fit one constraint.

    Attributes:
        contract: the version of this contract that the class was written for.
    """

    contract: ClassVar[int] = 1

    def __init__(self, constraint: Constraint) -> None:
        """Compile the check.

        Raises:
            ConfigError: the constraint itself is faulty.
        """
        self.constraint = constraint
        self._check = checker_for(constraint)

    @abstractmethod
    def prepare(self, request: Request, capabilities: Capabilities) -> Request | Refusal:
        """The request as it is to be sent, or why the constraint cannot be held.

        Called for every row, before anything is sent for it, and once before the first row.
        """

    def check(self, completion: Completion) -> Accepted | Fault:
        """Check an answer against the constraint as the user gave it."""
        return self._check(completion.text)

    def again(self, request: Request, completion: Completion, fault: Fault) -> Request | None:  # noqa: ARG002 - for those that override it
        """What to send after an answer that does not fit; None, the default, to fail the row.

        Called at most `generation.guided_decoding.max_reasks` times for a row.

        Args:
            request: what was sent.
            completion: the answer.
            fault: why it does not fit.
        """
        return None

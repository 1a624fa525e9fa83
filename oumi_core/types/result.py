"""What a run hands out for each row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from oumi_core.types.completion import Completion, FinishReason, Usage
    from oumi_core.types.conversation import Conversation
    from oumi_core.types.failure import Failure

__all__ = ["Result"]


@attrs.frozen
class Result:
    """One row's outcome: an answer or a failure, never both and never neither.

    Attributes:
        index: the row's place in the input, from 0.
        conversation: the input with the reply appended; the input as it was if the row failed.
        completion: the engine's answer. A failed row has one too where there was an answer that
            could not be accepted (truncated, or not fitting its constraint).
        error: why the row failed; None if it did not.
        parsed: the value that a constraint gives: the parsed JSON (an instance of the class if
            one was given), the text for a regex, choice or grammar; None without a constraint.
        checked: True if the answer was checked against its constraint, False if it could not be
            (a grammar without the extra `grammar`); None without a constraint.
        attempts: how often the engine was asked.
        latency: seconds from the first attempt's start to the outcome.
        reused: True if an earlier run of the same output had this answer, and nothing was sent.
        earlier_usage: token counts of answers to this row that were not taken, because others were
            asked for; None where there were none.
        exception: what the engine raised if that was not an `EngineError`; for debugging, in no
            repr and no file.
    """

    index: int
    conversation: Conversation
    completion: Completion | None = None
    error: Failure | None = None
    parsed: Any = attrs.field(default=None, repr=False)
    checked: bool | None = None
    attempts: int = 1
    latency: float = 0.0
    reused: bool = False
    earlier_usage: Usage | None = None
    exception: BaseException | None = attrs.field(default=None, repr=False, eq=False)

    @property
    def ok(self) -> bool:
        """True if the row has an answer that was accepted."""
        return self.error is None

    @property
    def text(self) -> str:
        """The answer's text; empty where there is none."""
        return self.completion.text if self.completion is not None else ""

    @property
    def usage(self) -> Usage | None:
        """Token counts of the answer; None where there are none."""
        return self.completion.usage if self.completion is not None else None

    @property
    def total_usage(self) -> Usage | None:
        """Token counts of all answers to this row, those included that were not taken."""
        if self.usage is None or self.earlier_usage is None:
            return self.usage or self.earlier_usage
        return self.usage + self.earlier_usage

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the model stopped; None where there is no answer."""
        return self.completion.finish_reason if self.completion is not None else None

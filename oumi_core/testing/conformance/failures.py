"""How an engine fails."""

from __future__ import annotations

import pytest

from oumi_core.errors import EngineError
from oumi_core.testing.conformance.kit import EngineKit
from oumi_core.types import Conversation, Failure, FailureKind, Message, Role

__all__ = ["FailureTests"]

_SECRET = "sk-secret-of-the-user"  # noqa: S105 - a word to look for
_STRANGE = (RuntimeError(_SECRET), OSError(5, _SECRET), KeyError(_SECRET))
_ODD = {
    "an empty question": [Message(Role.USER, "")],
    "no user message": [Message(Role.SYSTEM, "Be brief.")],
    "an answer last": [Message(Role.USER, "Hello"), Message(Role.ASSISTANT, "Hel")],
    "a NUL": [Message(Role.USER, "a\x00b")],
    "half a character": [Message(Role.USER, "a\ud800b")],
}


class FailureTests(EngineKit):
    """What the retry policy and the user rely on when something goes wrong."""

    @pytest.mark.parametrize("what", sorted(_ODD))
    def test_an_odd_row_is_answered_or_fails_alone(self, what: str) -> None:
        """As an `EngineError`, whose kind is no defect of the engine; the next row is answered."""
        outcome = self.outcome(self.request(conversation=Conversation(list(_ODD[what]))))
        if isinstance(outcome, Failure):
            kind = outcome.kind
            assert kind is not FailureKind.INTERNAL, f"{what}: failed as internal"
            assert not outcome.stops_run, f"{what}: {kind.value} would stop the whole run"
        self.answer(self.request())

    @pytest.mark.parametrize("error", _STRANGE, ids=[type(error).__name__ for error in _STRANGE])
    def test_what_an_unknown_exception_says_is_not_repeated(self, error: Exception) -> None:
        """It may quote a key or a prompt, and failures are written to files."""
        failure = self.engine().classify(error)
        assert isinstance(failure, Failure), f"classify() gave {type(failure).__name__}"
        assert _SECRET not in failure.message, "classify() repeats the text of the exception"

    def test_a_time_out_is_one(self) -> None:
        """So that it is tried again."""
        assert self.engine().classify(TimeoutError()).kind is FailureKind.TIMEOUT

    def test_its_own_failures_stay_as_they_are(self) -> None:
        """`classify` gives the failure of an `EngineError` back."""
        failure = Failure(FailureKind.RATE_LIMIT, "slow down", 429)
        assert self.engine().classify(EngineError(failure)) == failure

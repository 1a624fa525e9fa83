"""Whether an engine honours the generation parameters that it says it does."""

from __future__ import annotations

import pytest

from oumi_core.testing.conformance.kit import EngineKit
from oumi_core.types import FinishReason

__all__ = ["ParamTests"]


class ParamTests(EngineKit):
    """Parameters whose effect can be seen from outside."""

    def test_max_new_tokens_cuts_the_answer(self) -> None:
        """One token, and the reason says that it was cut."""
        self.needs_param("max_new_tokens")
        whole = self.answer(self.request())
        if whole.usage is not None and whole.usage.completion_tokens <= 1:
            pytest.skip("its answer has one token: ask a longer question")
        cut = self.answer(self.request(max_new_tokens=1))
        if cut.usage is not None:
            tokens = cut.usage.completion_tokens
            assert tokens <= 1, f"max_new_tokens=1 gave {tokens} tokens"
        assert len(cut.text) < len(whole.text), "max_new_tokens=1 gave as much as 64"
        reason = cut.finish_reason.value
        assert cut.finish_reason is FinishReason.LENGTH, f"finish_reason is {reason}, not length"

    def test_a_stop_string_ends_the_answer(self) -> None:
        """The text ends before it."""
        self.needs_param("stop_strings")
        whole = self.answer(self.request()).text
        stop = whole.strip()[len(whole.strip()) // 2 :][:3]
        if not stop.strip():
            pytest.skip("its answer is too short to be cut in the middle")
        text = self.answer(self.request(stop_strings=[stop])).text
        assert stop not in text, "the answer holds the stop string"
        assert len(text) < len(whole), "the stop string did not shorten the answer"

    def test_a_seed_repeats_the_answer(self) -> None:
        """Twice the same, though it is sampled."""
        self.needs_param("seed")
        first, second = (self.answer(self.request(seed=7, temperature=1.0)).text for _ in range(2))
        assert first == second, "the same seed gave two answers"

    def test_temperature_zero_repeats_the_answer(self) -> None:
        """The default takes the likeliest token."""
        self.needs_param("temperature")
        first, second = (self.answer(self.request()).text for _ in range(2))
        assert first == second, "temperature 0 gave two answers"

    def test_log_probabilities_come_when_they_are_asked_for(self) -> None:
        """In the chat-completions format; none when they are not."""
        self.needs(self.capabilities().logprobs, "logprobs")
        given = self.answer(self.request(logprobs=True)).logprobs
        assert given is not None, "logprobs=True gave none"
        assert given.get("content"), "logprobs hold no `content`, the list of tokens"
        assert self.answer(self.request()).logprobs is None, "logprobs came without being asked for"

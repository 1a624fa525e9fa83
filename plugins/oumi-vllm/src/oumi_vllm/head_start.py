"""Lets the first requests of many go ahead of the rest, so that an answer is there early."""

from __future__ import annotations

__all__ = ["HeadStart"]

_TOKENS = 512
"""Tokens of prompts that a step is given: enough to keep it busy, and it is still a short one."""

_STEPS = 16
"""Steps after which the rest follows, whether there was an answer or not: it costs no more."""


class HeadStart:
    """Says whether vLLM may be given another prompt yet.

    Given many prompts at once, vLLM reads thousands of their tokens a step, and those that are
    being answered already gain one token in each of these long steps: the first answer would be
    there when all prompts are read. So the prompts that come to an idle engine are given to it a
    few a step, until the first answer is there.
    """

    def __init__(self) -> None:
        self._tokens = self._steps = 0

    def begin(self) -> None:
        """The engine has nothing to do."""
        self._tokens, self._steps = _TOKENS, _STEPS

    @property
    def over(self) -> bool:
        """True once all may be given."""
        return not self._steps

    @property
    def allows(self) -> bool:
        """True if the engine may be given another prompt."""
        return self.over or self._tokens > 0

    def given(self, tokens: int) -> None:
        """It was given a prompt of so many tokens."""
        self._tokens -= tokens

    def stepped(self, *, answered: bool) -> None:
        """It made a step, with or without a whole answer."""
        if self._steps:
            self._steps = 0 if answered else self._steps - 1
            self._tokens = _TOKENS

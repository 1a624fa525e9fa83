"""Counts what a run did, as it does it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.exit_codes import ExitCode, exit_code_of
from oumi_core.types.completion import Usage

if TYPE_CHECKING:
    from oumi_core.errors import OumiError
    from oumi_core.run.price import Price
    from oumi_core.types.failure import Failure, FailureKind
    from oumi_core.types.result import Result

__all__ = ["Summary", "Tally"]


@attrs.frozen
class Summary:
    """What a run has done so far.

    Attributes:
        rows: rows that ended, good and bad.
        succeeded: rows with an accepted answer.
        failed: rows that failed, by kind; only kinds that occurred.
        prompt_tokens: tokens of all prompts, as far as the engine counts them.
        completion_tokens: tokens of all answers, as far as the engine counts them.
        seconds: from the start of the run to now, or to its end.
        stopped_by: the failure that ended the run early; None if none did.
        interrupted: True if the run was asked to stop before its last row.
        unsupported: generation parameters that the engine did not honour.
        reused: rows among these whose answer an earlier run had; their tokens are not counted.
        error: what the run itself raised; None if it did not.
        cost: what these tokens cost by `budget.prices`; None without a price for the model.
    """

    rows: int
    succeeded: int
    failed: dict[FailureKind, int]
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    stopped_by: Failure | None
    interrupted: bool
    unsupported: tuple[str, ...]
    reused: int = 0
    error: OumiError | None = None
    cost: float | None = None

    @property
    def exit_code(self) -> int:
        """What a program that did only this run should end with; see `ExitCode`."""
        if self.error is not None:
            return exit_code_of(self.error)
        if self.stopped_by is not None:
            return ExitCode.STOPPED
        if self.interrupted:
            return ExitCode.INTERRUPTED
        return ExitCode.SOME_FAILED if self.failed else ExitCode.OK

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON-ready data."""
        return {
            **attrs.asdict(self, recurse=False),
            "failed": {kind.value: count for kind, count in self.failed.items()},
            "stopped_by": self.stopped_by.to_dict() if self.stopped_by else None,
            "error": None if self.error is None else str(self.error),
            "exit_code": self.exit_code,
        }


class Tally:
    """Adds up results while a run goes on."""

    def __init__(self, unsupported: tuple[str, ...] = (), price: Price | None = None) -> None:
        self.stopped_by: Failure | None = None
        self.interrupted = False
        self.error: OumiError | None = None
        self.rows = 0
        self._reused = 0
        self._unsupported = unsupported
        self._started = time.monotonic()
        self._ended: float | None = None
        self._failed: Counter[FailureKind] = Counter()
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._cached_tokens = 0
        self._price = price

    def add(self, result: Result) -> None:
        """Count one row's outcome."""
        self.rows += 1
        if result.error is not None:
            self._failed[result.error.kind] += 1
        if result.reused:
            self._reused += 1
            return
        if result.earlier_usage is not None:
            self.spend(result.total_usage)
        elif result.completion is not None:
            self.spend(result.completion.usage)

    def spend(self, usage: Usage | None) -> None:
        """Count the tokens of answers."""
        if usage is not None:
            self._prompt_tokens += usage.prompt_tokens
            self._completion_tokens += usage.completion_tokens
            if usage.cached_tokens is not None:
                self._cached_tokens += usage.cached_tokens

    def end(self) -> None:
        """Stop the clock."""
        if self._ended is None:
            self._ended = time.monotonic()

    def summary(self) -> Summary:
        """What has been counted so far."""
        return Summary(
            rows=self.rows,
            succeeded=self.rows - self._failed.total(),
            failed=dict(self._failed),
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            seconds=(self._ended or time.monotonic()) - self._started,
            stopped_by=self.stopped_by,
            interrupted=self.interrupted,
            unsupported=self._unsupported,
            reused=self._reused,
            error=self.error,
            cost=None if self._price is None else self._price.of(self._usage()),
        )

    def _usage(self) -> Usage:
        return Usage(
            self._prompt_tokens, self._completion_tokens, cached_tokens=self._cached_tokens
        )

"""The errors of oumi_core, sorted by what a caller can do about them.

    OumiError
    |-- ConfigError        what was written is wrong: correct it (CLI exit code 2)
    |   `-- DataError      a row or a file of the input is wrong
    |-- PluginError        an engine or other plugin cannot be had: install, choose or repair it (2)
    |-- EngineError        an engine could not do what it was asked to; carries a `Failure`
    |-- RunStopped         a run ended before its last row; the same call continues it (3)
    |-- BatchUnfinished    a batch is not at its end yet; the same call gives its results then (3)
    `-- InferenceFailed    every row was tried and some failed; carries all results (1)

A message says what is wrong, where, and what to do. Keys and prompts never stand in one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from oumi_core.batching.status import BatchInfo
    from oumi_core.types.failure import Failure
    from oumi_core.types.result import Result

__all__ = [
    "BatchUnfinished",
    "ConfigError",
    "DataError",
    "EngineError",
    "InferenceFailed",
    "OumiError",
    "PluginError",
    "RunStopped",
]


class OumiError(Exception):
    """The root of everything that oumi_core raises on purpose."""


class ConfigError(OumiError, ValueError):
    """What the user wrote is wrong: a config, an argument, a path.

    Attributes:
        faults: every fault that was found, one line each, in the order of the text. A fault
            starts with its path (`generation.temperature: ...`) or place (`rows.jsonl:7: ...`).
        source: the file, or the params class, that the faults were found in; None where there is
            none.
    """

    def __init__(self, *faults: str, source: str | None = None) -> None:
        self.faults: tuple[str, ...] = faults
        self.source = source
        super().__init__(*faults)

    def __str__(self) -> str:
        prefix = f"{self.source}: " if self.source else ""
        if len(self.faults) == 1:
            return prefix + self.faults[0]
        lines = "".join(f"\n  {fault}" for fault in self.faults)
        return f"{prefix}{len(self.faults)} faults:{lines}"


class DataError(ConfigError):
    """A row or a file of the input cannot be read; each fault starts with `file:line: `."""


class PluginError(OumiError):
    """A plugin is unknown, missing, ambiguous, disabled, broken, or of another contract.

    Attributes:
        name: the name that was asked for.
    """

    def __init__(self, message: str, *, name: str) -> None:
        self.name = name
        super().__init__(message)


class EngineError(OumiError):
    """An engine could not answer. Engines raise it; the run turns it into a failed row.

    Attributes:
        failure: what happened, in the terms that a run and a retry policy decide by.
    """

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"{failure.kind.value}: {failure.message}")

    @classmethod
    def bad_request(cls, message: str) -> Self:
        """For a request that the engine cannot take, and does not send; the message says why."""
        from oumi_core.types.failure import (  # noqa: PLC0415 - on use: types stand on errors
            Failure,
            FailureKind,
        )

        return cls(Failure(FailureKind.BAD_REQUEST, message))


class RunStopped(OumiError):
    """A run ended early: a dead engine, a refused account, a full disk, an interrupt.

    Attributes:
        failure: the failure that stopped it; None if nothing failed (an interrupt).
        results: the rows that had finished, in input order; empty where they went to a file.
    """

    def __init__(
        self, message: str, *, failure: Failure | None = None, results: Sequence[Result] = ()
    ) -> None:
        self.failure = failure
        self.results: tuple[Result, ...] = tuple(results)
        super().__init__(message)


class BatchUnfinished(OumiError):
    """The results of a batch were asked for before it was at its end.

    Attributes:
        info: how far it is.
    """

    def __init__(self, info: BatchInfo) -> None:
        self.info = info
        super().__init__(
            f"batch {info.id} is not at its end: {info.status}, {info.completed_requests:,} of "
            f"{info.total_requests:,} rows answered; wait for it, or ask for partial results"
        )


class InferenceFailed(OumiError):
    """Every row was tried, the good ones were saved, and some failed.

    Attributes:
        results: one `Result` per input row, in input order, good and bad.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        self.results: tuple[Result, ...] = tuple(results)
        failed = [result for result in self.results if result.error is not None]
        first = failed[0]
        reason = f"{first.error.kind.value}: {first.error.message}" if first.error else ""
        super().__init__(
            f"{len(failed)} of {len(self.results)} rows failed; the first, at index {first.index}: "
            f"{reason} (all results are in .results)"
        )

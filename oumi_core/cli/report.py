"""What is said of a run when it has ended, on standard error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from oumi_core.cli.console import note, show_traceback
from oumi_core.run.output import failed_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oumi_core.run.run import Run
    from oumi_core.run.summary import Summary
    from oumi_core.types.result import Result

__all__ = ["SHOWN_FAILURES", "duration", "tell_broken_off", "tell_end"]

SHOWN_FAILURES: Final = 5
"""So many failed rows are listed; a file of the others is named."""


def tell_end(
    run: Run, failed: Sequence[Result] | None, output_path: str | None, *, canceled: bool
) -> None:
    """Say which rows failed and why, what the run did, and where its files are.

    Args:
        run: the run, which has ended.
        failed: the first failed rows; None if they were shown already.
        output_path: where the answers went; None if they were printed.
        canceled: True if rows in flight were cancelled.
    """
    summary = run.summary()
    if failed is not None:
        _tell_failures(failed, sum(summary.failed.values()))
    stopped = run.stopped()
    if canceled:
        note("interrupted; what was in flight is cancelled", label="stopped", style="yellow")
    elif stopped is not None:
        note(str(stopped), label="stopped", style="yellow")
    note(_line(summary), style="bold")
    if output_path is None:
        return
    if canceled or stopped is not None:
        note("the same command goes on from here")
        return
    note(f"answers: {output_path}")
    if summary.failed:
        note(f"failed rows: {failed_path(output_path)}")


def tell_broken_off(run: Run, output_path: str | None) -> None:
    """Say what a run did before an error ended it; the error is said elsewhere."""
    summary = run.summary()
    if not summary.rows:
        return
    note(_line(summary), style="bold")
    if output_path is not None:
        note("what was answered is kept; the same command goes on from here")


def _tell_failures(failed: Sequence[Result], count: int) -> None:
    for result in failed:
        if result.error is not None:
            reason = f"row {result.index + 1}: {result.error.kind.value}: {result.error.message}"
            note(reason, label="failed", style="red")
        if result.exception is not None and os.environ.get("OUMI_DEBUG"):
            show_traceback(result.exception)
    if count > len(failed):
        note(f"... and {count - len(failed):,} more failed")


def _line(summary: Summary) -> str:
    """The run in one line: `1,000 rows: 998 ok, 2 failed (2 timeout); 9,000 tokens in; ...`."""
    text = f"{summary.rows:,} {'row' if summary.rows == 1 else 'rows'}: {summary.succeeded:,} ok"
    if summary.failed:
        kinds = ", ".join(f"{count:,} {kind.value}" for kind, count in summary.failed.items())
        text += f", {sum(summary.failed.values()):,} failed ({kinds})"
    if summary.prompt_tokens or summary.completion_tokens:
        text += f"; {summary.prompt_tokens:,} tokens in, {summary.completion_tokens:,} out"
    if summary.cost is not None:
        text += f"; cost {summary.cost:,.6g}"
    return f"{text}; {duration(summary.seconds)}"


def duration(seconds: float) -> str:
    """A span of time for a person: `4.2 s`, `3 min 10 s`, `2 h 05 min`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"

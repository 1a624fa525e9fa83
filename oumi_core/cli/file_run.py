"""A file of conversations: the run, what is shown of it, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Final, Self

from oumi_core.cli.answers import printer
from oumi_core.cli.console import is_terminal, shows_progress
from oumi_core.cli.interrupts import drained
from oumi_core.cli.pace import Pace
from oumi_core.cli.progress import progress
from oumi_core.cli.progress_json import JsonProgress
from oumi_core.cli.report import SHOWN_FAILURES, tell_broken_off, tell_end
from oumi_core.errors import OumiError
from oumi_core.exit_codes import ExitCode

if TYPE_CHECKING:
    from types import TracebackType

    from oumi_core.cli.progress import Bar
    from oumi_core.run.run import Run
    from oumi_core.types.result import Result

__all__ = ["answer_file"]

_STOPPING: Final = {
    signal.SIGINT: "stopping: what is in flight is finished and kept; Ctrl-C again cancels it\n",
    signal.SIGTERM: "stopping: what is in flight is finished and kept; SIGTERM again cancels it\n",
}


def answer_file(run: Run, output_path: str | None, *, as_json: bool, shown: str) -> int:
    """Go through a run; print the answers if they go to no file.

    Args:
        run: the run, which has not started.
        output_path: where its answers go; None if they are to be printed.
        as_json: print answers as JSON lines; or the summary, if the answers go to a file.
        shown: how progress is shown: `bar`, `json`, `none`, or `auto`, a bar on a terminal.

    Returns:
        The exit code.

    Raises:
        ConfigError, DataError: the input or the output is wrong.
        EngineError, RunStopped: the engine cannot be brought up, or the disk refused.
    """
    on_terminal = output_path is None and is_terminal(sys.stdout)
    answers = printer(run, as_json=as_json) if output_path is None else None
    pace = Pace(run)
    failed: list[Result] = []
    canceled = False
    with run, _Screen(run, pace, shown, bar_stays=not on_terminal) as screen:
        try:
            for result in run:
                screen.first_result_is_here()
                pace.add(result)
                if result.error is not None:
                    failed = sorted([*failed, result], key=_place)[:SHOWN_FAILURES]
                if answers is not None:
                    answers.add(result)
        except KeyboardInterrupt:
            run.close()
            canceled = True
        except OumiError:
            screen.close()
            tell_broken_off(run, output_path)
            raise
        if answers is not None:
            answers.finish()
    summary = run.summary()
    code = ExitCode.INTERRUPTED if canceled else summary.exit_code
    if code == ExitCode.INTERRUPTED and screen.stopped_by is signal.SIGTERM:
        code = ExitCode.TERMINATED
    if as_json and output_path is not None:
        sys.stdout.write(json.dumps({**summary.to_dict(), "exit_code": code}) + "\n")
    seen = on_terminal and not as_json
    tell_end(run, None if seen else failed, output_path, canceled=canceled)
    return code


def _place(result: Result) -> int:
    return result.index


class _Screen:
    """What is shown while the run goes on; and Ctrl-C and SIGTERM, which drain it.

    Args:
        run: what is shown and, by a signal, stopped.
        pace: how fast it is.
        shown: how progress is shown, as for `answer_file`.
        bar_stays: False if the bar has to go when the first result comes: answers are shown then.
    """

    def __init__(self, run: Run, pace: Pace, shown: str, *, bar_stays: bool) -> None:
        self._run = run
        self._pace = pace
        self._shown = shown
        self._bar_stays = bar_stays
        self._progress: Bar | JsonProgress | None = None
        self._drawing = contextlib.ExitStack()
        self._signals = drained(self._stop)

    def first_result_is_here(self) -> None:
        """Make room for answers; does nothing when called again."""
        if not self._bar_stays and self._shown != "json" and self._progress is not None:
            self.close()

    def close(self) -> None:
        """Show nothing more; does nothing when called again."""
        self._progress = None
        self._drawing.close()

    @property
    def stopped_by(self) -> signal.Signals | None:
        """The signal that asked the run to stop; None if none did."""
        return self._asked.by

    def _stop(self, by: signal.Signals) -> None:
        self._run.stop()
        if self._progress is not None:
            self._progress.stopping = True
        elif self._shown != "json":
            # Past the stream, which the main thread may be in the middle of writing to.
            os.write(sys.stderr.fileno(), _STOPPING[by].encode())

    def __enter__(self) -> Self:
        if self._shown == "json":
            self._progress = self._drawing.enter_context(JsonProgress(self._pace))
        elif self._shown == "bar" or (self._shown == "auto" and shows_progress()):
            self._progress = self._drawing.enter_context(progress(self._run, self._pace))
        self._asked = self._signals.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._signals.__exit__(kind, error, trace)
        self.close()

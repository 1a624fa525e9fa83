"""A file of conversations: the run, what is shown of it, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Final, Self

from oumi_core.cli.answers import printer
from oumi_core.cli.console import is_terminal, shows_progress
from oumi_core.cli.interrupts import drained_by_ctrl_c
from oumi_core.cli.progress import progress
from oumi_core.cli.report import SHOWN_FAILURES, tell_end
from oumi_core.run.summary import ExitCode

if TYPE_CHECKING:
    from types import TracebackType

    from oumi_core.cli.progress import Bar
    from oumi_core.run.run import Run
    from oumi_core.types.result import Result

__all__ = ["answer_file"]

_STOPPING: Final = "stopping: what is in flight is finished and kept; Ctrl-C again cancels it\n"


def answer_file(run: Run, output_path: str | None, *, as_json: bool) -> int:
    """Go through a run; print the answers if they go to no file.

    Args:
        run: the run, which has not started.
        output_path: where its answers go; None if they are to be printed.
        as_json: print answers as JSON lines; or the summary, if the answers go to a file.

    Returns:
        The exit code.

    Raises:
        ConfigError, DataError: nothing was sent.
        EngineError, RunStopped: the engine cannot be brought up, or the disk refused.
    """
    on_terminal = output_path is None and is_terminal(sys.stdout)
    answers = printer(as_json=as_json) if output_path is None else None
    failed: list[Result] = []
    canceled = False
    with run, _Screen(run, bar_stays=not on_terminal) as screen:
        try:
            for result in run:
                screen.first_result_is_here()
                if result.error is not None:
                    failed = sorted([*failed, result], key=_place)[:SHOWN_FAILURES]
                if answers is not None:
                    answers.add(result)
        except KeyboardInterrupt:
            run.close()
            canceled = True
        if answers is not None:
            answers.finish()
    summary = run.summary()
    if as_json and output_path is not None:
        sys.stdout.write(json.dumps(summary.to_dict()) + "\n")
    seen = on_terminal and not as_json
    tell_end(run, None if seen else failed, output_path, canceled=canceled)
    return ExitCode.INTERRUPTED if canceled else summary.exit_code


def _place(result: Result) -> int:
    return result.index


class _Screen:
    """A bar while the run goes on, where there is a terminal for one; and Ctrl-C, which drains.

    Args:
        run: what is shown and, by Ctrl-C, stopped.
        bar_stays: False if the bar has to go when the first result comes: answers are shown then.
    """

    def __init__(self, run: Run, *, bar_stays: bool) -> None:
        self._run = run
        self._bar_stays = bar_stays
        self._bar: Bar | None = None
        self._drawing = contextlib.ExitStack()
        self._ctrl_c = drained_by_ctrl_c(self._stop)

    def first_result_is_here(self) -> None:
        """Make room for answers; does nothing when called again."""
        if self._bar is not None and not self._bar_stays:
            self._bar = None
            self._drawing.close()

    def _stop(self) -> None:
        self._run.stop()
        if self._bar is not None:
            self._bar.stopping = True
        else:
            # Past the stream, which the main thread may be in the middle of writing to.
            os.write(sys.stderr.fileno(), _STOPPING.encode())

    def __enter__(self) -> Self:
        if shows_progress():
            self._bar = self._drawing.enter_context(progress(self._run))
        self._ctrl_c.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ctrl_c.__exit__(kind, error, trace)
        self._drawing.close()

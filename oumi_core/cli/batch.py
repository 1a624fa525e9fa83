"""A file of conversations: the run, what is shown of it, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Final

from oumi_core.cli.answers import printer
from oumi_core.cli.console import is_terminal, shows_progress
from oumi_core.cli.interrupts import drained_by_ctrl_c
from oumi_core.cli.loading import load
from oumi_core.cli.progress import progress
from oumi_core.cli.report import SHOWN_FAILURES, tell_end
from oumi_core.run.summary import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oumi_core.inference import InferenceEngine
    from oumi_core.run.run import Run
    from oumi_core.types.result import Result

__all__ = ["answer_file"]

_STOPPING: Final = "stopping: what is in flight is finished and kept; Ctrl-C again cancels it\n"


def answer_file(engine: InferenceEngine, *, as_json: bool) -> int:
    """Answer the config's `input_path`; print the answers if it has no `output_path`.

    Args:
        engine: an engine whose config has an `input_path`.
        as_json: print answers as JSON lines; or the summary, if the answers go to a file.

    Returns:
        The exit code.

    Raises:
        ConfigError, DataError: nothing was sent.
        EngineError, RunStopped: the engine cannot be brought up, or the disk refused.
    """
    output_path = engine.config.output_path
    run = engine.run()
    load(engine)
    failed: list[Result] = []
    with run:
        if output_path is None:
            answers = printer(as_json=as_json)
            canceled = _drain(run, failed, answers.add)
            answers.finish()
        else:
            canceled = _drain(run, failed, None)
    summary = run.summary()
    if as_json and output_path is not None:
        sys.stdout.write(json.dumps(summary.to_dict()) + "\n")
    tell_end(run, failed, output_path, whole=not canceled)
    return ExitCode.INTERRUPTED if canceled else summary.exit_code


def _drain(run: Run, failed: list[Result], show: Callable[[Result], None] | None) -> bool:
    """Take all results; True if a second Ctrl-C cancelled the run."""
    with _steered(run, bar=show is None or not is_terminal(sys.stdout)):
        try:
            for result in run:
                if result.error is not None and len(failed) < SHOWN_FAILURES:
                    failed.append(result)
                if show is not None:
                    show(result)
        except KeyboardInterrupt:
            run.close()
            return True
    return False


@contextlib.contextmanager
def _steered(run: Run, *, bar: bool) -> Iterator[None]:
    """Ctrl-C drains the run, and a bar shows it where there is a terminal for one."""
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(progress(run)) if bar and shows_progress() else None

        def stop() -> None:
            run.stop()
            if shown is not None:
                shown.stopping = True
            else:
                # Past the stream, which the main thread may be in the middle of writing to.
                os.write(sys.stderr.fileno(), _STOPPING.encode())

        stack.enter_context(drained_by_ctrl_c(stop))
        yield

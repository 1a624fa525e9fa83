"""The chat: turns that are remembered, answers that stream, and a few commands."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

from oumi_core.cli.chat_commands import is_command, is_exit, run_command
from oumi_core.cli.console import has_typist, note, show_error
from oumi_core.cli.interrupts import ctrl_c_only_inside
from oumi_core.cli.lines import piped_lines, typed_lines
from oumi_core.cli.loading import load
from oumi_core.cli.question import print_pieces, remark
from oumi_core.errors import OumiError
from oumi_core.exit_codes import ExitCode
from oumi_core.types.conversation import Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from oumi_core.cli.talk import Talk
    from oumi_core.inference import InferenceEngine

__all__ = ["chat"]


def chat(engine: InferenceEngine, talk: Talk) -> int:
    """Answer the lines that are typed, or come from a pipe, until they end.

    On a terminal, Ctrl-C stops the answer or clears the line, and Ctrl-D leaves. An error ends
    the turn. Without a terminal there are no prompts, and Ctrl-C ends the program.

    Args:
        engine: who answers.
        talk: what it starts from.

    Returns:
        The exit code: 1 if lines came from a pipe and a turn failed.

    Raises:
        ConfigError, EngineError: the engine cannot be brought up.
    """
    load(engine)
    if not has_typist():
        answered = [_respond(engine, talk, line) for line in _until_exit(piped_lines())]
        return ExitCode.OK if all(answered) else ExitCode.SOME_FAILED
    model = engine.config.model
    who = f"{model.model_name} on {engine.name}" if model is not None else engine.name
    note(f"{who}; Ctrl-C stops an answer, Ctrl-D leaves, /help shows more")
    with ctrl_c_only_inside() as interruptible:
        for line in _until_exit(typed_lines(interruptible)):
            _respond(engine, talk, line, interruptible)
    return ExitCode.OK


def _until_exit(lines: Iterator[str]) -> Iterator[str]:
    return itertools.takewhile(lambda line: not is_exit(line), lines)


def _respond(
    engine: InferenceEngine,
    talk: Talk,
    line: str,
    interruptible: Callable[[], AbstractContextManager[None]] | None = None,
) -> bool:
    """Do a command, or ask and print the answer; False if it cannot be done or answered."""
    try:
        if is_command(line):
            run_command(talk, line)
        else:
            _ask(engine, talk, line, interruptible)
    except OumiError as error:
        show_error(error)
        if not is_command(line):
            note("(this turn is not remembered)")
        return False
    return True


def _ask(
    engine: InferenceEngine,
    talk: Talk,
    line: str,
    interruptible: Callable[[], AbstractContextManager[None]] | None,
) -> None:
    """Print the answer as it comes, and remember both; where it may be, it is ended by Ctrl-C."""
    question = talk.question(line)
    said: list[str] = []
    stream = engine.stream(talk.conversation(question))
    try:
        with interruptible() if interruptible is not None else contextlib.nullcontext():
            try:
                print_pieces(stream, said)
            finally:
                stream.close()
    except KeyboardInterrupt:
        if interruptible is None:
            raise
        _remember_part(talk, question, "".join(said))
        return
    if stream.completion is not None:
        remark(stream.completion)
        talk.turns += [question, stream.completion.message]


def _remember_part(talk: Talk, question: Message, said: str) -> None:
    """Keep what was said before Ctrl-C, as it is what the next line refers to."""
    if said:
        talk.turns += [question, Message(Role.ASSISTANT, said)]
        note("(stopped; what was said is remembered)")
    else:
        note("(stopped; this turn is not remembered)")

"""The chat: turns that are remembered, answers that stream, and a few commands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from oumi_core.cli.chat_commands import is_command, run_command
from oumi_core.cli.console import note
from oumi_core.cli.lines import piped_lines, typed_lines
from oumi_core.cli.loading import load
from oumi_core.cli.question import print_pieces, remark
from oumi_core.errors import OumiError
from oumi_core.run.summary import ExitCode
from oumi_core.types.conversation import Message, Role

if TYPE_CHECKING:
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
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal:
        model = engine.config.model
        who = f"{model.model_name} on {engine.name}" if model is not None else engine.name
        note(f"{who}; Ctrl-C stops an answer, Ctrl-D leaves, /help shows more")
    all_well = True
    for line in typed_lines() if terminal else piped_lines():
        if is_command(line):
            try:
                if not run_command(talk, line):
                    break
            except OumiError as error:
                note(str(error), label="error", style="red")
                all_well = False
        else:
            all_well &= _turn(engine, talk, line, stoppable=terminal)
    return ExitCode.OK if terminal or all_well else ExitCode.SOME_FAILED


def _turn(engine: InferenceEngine, talk: Talk, line: str, *, stoppable: bool) -> bool:
    """Ask, print the answer as it comes, and remember both; False if there is no answer."""
    question = talk.question(line)
    said: list[str] = []
    try:
        stream = engine.stream(talk.conversation(question))
        try:
            print_pieces(stream, said)
        finally:
            stream.close()
    except KeyboardInterrupt:
        if not stoppable:
            raise
        _remember_part(talk, question, "".join(said))
        return True
    except OumiError as error:
        note(str(error), label="error", style="red")
        note("(this turn is not remembered)")
        return False
    if stream.completion is not None:
        remark(stream.completion)
        talk.turns += [question, stream.completion.message]
    return True


def _remember_part(talk: Talk, question: Message, said: str) -> None:
    """Keep what was said before Ctrl-C, as it is what the next line refers to."""
    if said:
        talk.turns += [question, Message(Role.ASSISTANT, said)]
        note("(stopped; what was said is remembered)")
    else:
        note("(stopped; this turn is not remembered)")

"""One question on the command line, its answer printed as it comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from oumi_core.cli.answers import print_json
from oumi_core.cli.console import is_terminal, note, printable, show_error
from oumi_core.cli.loading import load
from oumi_core.errors import EngineError
from oumi_core.exit_codes import ExitCode
from oumi_core.types.completion import FinishReason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oumi_core.inference import InferenceEngine
    from oumi_core.types.completion import Completion
    from oumi_core.types.conversation import Conversation

__all__ = ["answer_question", "print_pieces", "remark"]


def answer_question(engine: InferenceEngine, question: Conversation, *, as_json: bool) -> int:
    """Print the answer to one question; as JSON, the whole conversation.

    Raises:
        ConfigError, EngineError: the engine cannot be brought up.
    """
    load(engine)
    stream = engine.stream(question)
    try:
        if as_json:
            _exhaust(stream)
        else:
            print_pieces(stream, [])
    except EngineError as error:
        show_error(error)
        return ExitCode.STOPPED if error.failure.stops_run else ExitCode.SOME_FAILED
    finally:
        stream.close()
    if as_json and stream.result is not None:
        print_json(stream.result)
    elif stream.completion is not None:
        remark(stream.completion)
    return ExitCode.OK


def _exhaust(stream: Iterable[str]) -> None:
    for _ in stream:
        pass


def print_pieces(stream: Iterable[str], said: list[str]) -> None:
    """Print an answer as it comes, and the end of its line.

    However the stream ends, what was said stays on the screen, on a line of its own.

    Args:
        stream: the pieces.
        said: each piece is appended to it, so that it holds them however the stream ends.
    """
    terminal = is_terminal(sys.stdout)
    try:
        for piece in stream:
            said.append(piece)
            sys.stdout.write(printable(piece) if terminal else piece)
            sys.stdout.flush()
    finally:
        if said and not said[-1].endswith("\n"):
            sys.stdout.write("\n")
            sys.stdout.flush()


def remark(completion: Completion) -> None:
    """Say what the text of an answer does not show: that it is empty, cut, or a tool call."""
    for call in completion.message.tool_calls or ():
        note(f"(the model calls {call.function.name}({call.function.arguments}))")
    if completion.finish_reason is FinishReason.LENGTH:
        note("(cut at generation.max_new_tokens)")
    elif not completion.text and not completion.message.tool_calls:
        note("(the answer is empty)")

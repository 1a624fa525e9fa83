"""Prints answers to standard output, in the order of the input."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from oumi_core.cli.console import is_terminal, printable, rich_console
from oumi_core.run.output import line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oumi_core.run.run import Run
    from oumi_core.types.conversation import Message
    from oumi_core.types.result import Result

__all__ = ["AnswerPrinter", "print_json", "printer"]

_ROLE_COLOURS: Final = {"system": "dim", "user": "cyan", "assistant": "green", "tool": "yellow"}
_ROLE_WIDTH: Final = max(map(len, _ROLE_COLOURS))

_MOST_HELD: Final = 1000
"""Results that wait to be printed; those that were in flight then come on top."""


class AnswerPrinter:
    """Holds results that end before an earlier row does, and prints each in its turn.

    While it holds many, the run begins no further row: memory must not grow behind a slow one.
    """

    def __init__(self, show: Callable[[Result], None], run: Run) -> None:
        self._show = show
        self._run = run
        self._held: dict[int, Result] = {}
        self._next_index = 0
        self._paused = False

    def add(self, result: Result) -> None:
        """Take a result; prints it, and those that waited for it, if it is the next."""
        self._held[result.index] = result
        while (ready := self._held.pop(self._next_index, None)) is not None:
            self._next_index += 1
            self._show(ready)
        sys.stdout.flush()
        if len(self._held) >= _MOST_HELD and not self._paused:
            self._paused = True
            self._run.pause()
        elif len(self._held) <= _MOST_HELD // 2 and self._paused:
            self._paused = False
            self._run.resume()

    def finish(self) -> None:
        """Print what still waits for a row that will not come: the run was stopped."""
        for index in sorted(self._held):
            self._show(self._held.pop(index))
        sys.stdout.flush()


def printer(run: Run, *, as_json: bool) -> AnswerPrinter:
    """What prints a run's results: as JSON lines, in colour on a terminal, or as plain text."""
    if as_json:
        return AnswerPrinter(print_json, run)
    return AnswerPrinter(_colourful() if is_terminal(sys.stdout) else _print_plain, run)


def print_json(result: Result) -> None:
    """Print the row with its reply, or with a field `failure`, as one line of JSON."""
    sys.stdout.flush()
    sys.stdout.buffer.write(line_of(result))


def _print_plain(result: Result) -> None:
    turns = [f"{role}: {text}\n" for role, text in _turns(result)]
    sys.stdout.write("".join(turns) + "\n")


def _colourful() -> Callable[[Result], None]:
    from rich.table import Table  # noqa: PLC0415 - import on use: only terminals need it
    from rich.text import Text  # noqa: PLC0415 - as above

    console = rich_console()

    def show(result: Result) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=_ROLE_WIDTH, no_wrap=True)
        grid.add_column(overflow="fold")
        for role, text in _turns(result):
            grid.add_row(Text(role, _ROLE_COLOURS.get(role, "red")), Text(printable(text)))
        console.print(grid)
        console.print()

    return show


def _turns(result: Result) -> Iterator[tuple[str, str]]:
    """The turns of a row for a person, as pairs of who and what; a failure is the last."""
    for message in result.conversation.messages:
        yield message.role.value, _said(message)
    if result.error is not None:
        yield "failed", f"{result.error.kind.value}: {result.error.message}"


def _said(message: Message) -> str:
    images = [f"<{item.type.value}>" for item in message.image_content_items]
    calls = [
        f"{call.function.name}({call.function.arguments})" for call in message.tool_calls or ()
    ]
    return "\n".join([*images, *([message.text] if message.text else []), *calls])

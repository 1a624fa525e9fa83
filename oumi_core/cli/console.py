"""What reaches a person: colours on a terminal, plain text elsewhere, notes on standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

    from oumi_core.errors import OumiError

__all__ = [
    "events_instead_of_notes",
    "has_typist",
    "is_terminal",
    "note",
    "paint",
    "printable",
    "rich_console",
    "show_error",
    "show_traceback",
    "shows_progress",
    "write_event",
]

_STYLES: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}

_CONTROLS: Final = {
    code: "\N{REPLACEMENT CHARACTER}"
    for code in (*range(32), *range(127, 160))
    if chr(code) not in "\n\t"
} | {ord("\r"): None}


def is_terminal(stream: TextIO) -> bool:
    """True if a person reads the stream as it comes, on a terminal that understands colours."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_typist() -> bool:
    """True if a person types at a terminal and reads on one."""
    streams = (sys.stdin, sys.stdout)
    return all(stream is not None and stream.isatty() for stream in streams)


def shows_progress() -> bool:
    """True if there is a terminal to draw a bar or a spinner on."""
    return is_terminal(sys.stderr)


def paint(text: str, *styles: str, stream: TextIO) -> str:
    """The text in colour if the stream is a terminal; as it is where not, or under NO_COLOR."""
    if not is_terminal(stream) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"


class _Events:
    """Whether standard error is for machines; belongs to the program, as its streams do."""

    wanted = False


def events_instead_of_notes(wanted: bool) -> None:
    """Have notes with a label written as events from now on, and others not at all."""
    _Events.wanted = wanted


def write_event(event: str, **fields: Any) -> None:
    """Write a JSON object to standard error, on a line of its own.

    Args:
        event: what sort of object it is: `progress`, `error`.
        fields: what it holds.
    """
    # In one piece: more than one thread writes.
    sys.stderr.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stderr.flush()


def note(text: str, *, label: str = "", style: str = "dim") -> None:
    """Write a line to standard error.

    Args:
        text: what to say.
        label: stands before it, coloured: `error`.
        style: the label's colour; the whole line's if there is no label.
    """
    if _Events.wanted:
        if label:
            write_event(label, message=text)
        return
    text = _wrapped(printable(f"{label}: {text}" if label else text))
    if label:
        painted = paint(f"{label}:", "bold", style, stream=sys.stderr)
        text = painted + text.removeprefix(f"{label}:")
    else:
        text = paint(text, style, stream=sys.stderr)
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def show_error(error: OumiError) -> None:
    """Write an error's message to standard error; with OUMI_DEBUG, the traceback before it."""
    if os.environ.get("OUMI_DEBUG"):
        show_traceback(error)
    note(str(error), label="error", style="red")


def show_traceback(error: BaseException) -> None:
    """Write where an error was raised to standard error."""
    import traceback  # noqa: PLC0415 - import on use: costs 10 ms

    if _Events.wanted:
        write_event("traceback", message="".join(traceback.format_exception(error)))
    else:
        traceback.print_exception(error)


def _wrapped(text: str) -> str:
    """The text, its lines broken between words where a terminal would break them in words."""
    if not is_terminal(sys.stderr):
        return text
    width = shutil.get_terminal_size().columns
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        lines += textwrap.wrap(
            line,
            width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def printable(text: str) -> str:
    """The text without what a terminal obeys: a model's answer must not move the cursor."""
    return text.translate(_CONTROLS)


def rich_console(*, stderr: bool = False) -> Console:
    """A rich console on standard output or standard error."""
    from rich.console import Console  # noqa: PLC0415 - import on use: only terminals need it

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=False)

"""The lines of a chat: typed on a terminal with a history, or read from a pipe."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from oumi_core.cli.console import is_terminal, note
from oumi_core.state_folder import make_private, state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["piped_lines", "typed_lines"]

_HISTORY_LENGTH: Final = 1000


def piped_lines() -> Iterator[str]:
    """The lines of standard input that are not blank."""
    for line in sys.stdin or ():
        if line.strip():
            yield line.rstrip("\n")


def typed_lines(interruptible: Callable[[], AbstractContextManager[None]]) -> Iterator[str]:
    """The lines that are typed at a prompt, until Ctrl-D; Ctrl-C clears the line.

    Lines can be edited, and come back with the arrow keys, those of earlier chats too.

    Args:
        interruptible: makes the context inside of which Ctrl-C is raised.
    """
    try:
        history: _History | None = _History()
    except ImportError:  # a Python without readline: lines can be typed, and that is all
        history = None
    prompt = "> " if history is None else _prompt()
    while True:
        try:
            with interruptible():
                line = input(prompt)
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            continue
        except EOFError:
            sys.stdout.write("\n")
            return
        if line.strip():
            if history is not None:
                history.add(line)
            yield line


def _prompt() -> str:
    if not is_terminal(sys.stdout) or os.environ.get("NO_COLOR"):
        return "> "
    # \1 and \2 tell readline what takes no room on the line.
    return "\1\x1b[1;36m\2> \1\x1b[0m\2"


class _History:
    """The lines of all chats, in a file that only the user can read."""

    def __init__(self) -> None:
        import readline  # noqa: PLC0415 - import on use: it takes hold of the terminal

        self._readline = readline
        self._path: Path | None = state_folder() / "chat_history"
        readline.set_auto_history(False)
        readline.set_history_length(_HISTORY_LENGTH)
        try:
            make_private(self._path.parent)
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.fchmod(file, 0o600)  # it may have been there, and open to others
            os.close(file)
            readline.read_history_file(self._path)
        except OSError as error:
            self._give_up(error)

    def add(self, line: str) -> None:
        """Remember a line, in the file too, so that a chat that is killed loses none."""
        self._readline.add_history(line)
        if self._path is None:
            return
        try:
            self._readline.append_history_file(1, self._path)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        note(f"the history is not kept: {self._path}: {error.strerror}; set OUMI_STATE_DIR")
        self._path = None

"""The commands of the chat: lines that start with a slash."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from oumi_core.cli.console import note
from oumi_core.cli.images import image_item
from oumi_core.data.jsonl import conversation_line
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.cli.talk import Talk

__all__ = ["is_command", "is_exit", "run_command"]

_COMMAND: Final = re.compile(r"/(\w+)(?:\s+(.*))?", re.DOTALL)
"""One word after the slash: `/etc/hosts holds what?` is a question."""

_EXIT: Final = ("exit", "quit")


def is_command(line: str) -> bool:
    """True if the line is for the chat and not for the model; a space before it makes it text."""
    return _COMMAND.fullmatch(line.rstrip()) is not None


def is_exit(line: str) -> bool:
    """True if the line ends the chat."""
    return line.rstrip() in {f"/{name}" for name in _EXIT}


def run_command(talk: Talk, line: str) -> None:
    """Do what a line says for which `is_command` is true and `is_exit` is not.

    Raises:
        ConfigError, DataError: there is no such command, or it cannot be done.
    """
    match = _COMMAND.fullmatch(line.rstrip())
    name, argument = (match[1], (match[2] or "").strip()) if match else ("", "")
    if name == "help":
        _help()
    elif name in _COMMANDS:
        note(_COMMANDS[name][0](talk, argument))
    else:
        near = get_close_matches(name, [*_COMMANDS, *_EXIT, "help"], n=1)
        hint = f"did you mean /{near[0]}?" if near else "/help shows what there is"
        raise ConfigError(f"/{name}: there is no such command; {hint}")


def _help() -> None:
    lines = [(f"/{name} {what}".rstrip(), text) for name, (_, what, text) in _COMMANDS.items()]
    for usage, text in [*lines, ("/exit", "leave, as Ctrl-D does")]:
        note(f"  {usage.ljust(18)}{text}")
    note("  A line that starts with a space is no command.")


def _clear(talk: Talk, _: str) -> str:
    talk.turns.clear()
    talk.images.clear()
    return "(all turns are forgotten)"


def _system(talk: Talk, argument: str) -> str:
    talk.system_prompt = argument or None
    return "(the system message is set)" if argument else "(there is no system message now)"


def _image(talk: Talk, argument: str) -> str:
    if not argument:
        raise ConfigError("/image: which one? /image PATH or /image URL")
    talk.images.append(image_item(argument))
    return f"(goes with the next line: {argument})"


def _save(talk: Talk, argument: str) -> str:
    if not argument:
        raise ConfigError("/save: where to? /save FILE")
    if not talk.turns:
        raise ConfigError("/save: nothing was said yet")
    path = Path(argument).expanduser()
    line = conversation_line(talk.conversation())
    try:
        with path.open("ab") as file:
            file.write(line)
    except OSError as error:
        raise ConfigError(f"/save: cannot write {path}: {error.strerror}") from error
    return f"(the conversation is the last line of {path})"


_COMMANDS: Final[dict[str, tuple[Callable[[Talk, str], str], str, str]]] = {
    "clear": (_clear, "", "forget all turns"),
    "system": (_system, "TEXT", "set the system message; without TEXT, remove it"),
    "image": (_image, "PATH|URL", "an image that goes with the next line"),
    "save": (_save, "FILE", "append the conversation to a JSONL file"),
}
"""Name -> what it does, its argument, and what the help says. Each returns what to say of it."""

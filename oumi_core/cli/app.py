"""The program `oumi`: its commands, loaded when they are called, and the end of every error."""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final

import click

from oumi_core.cli.console import events_instead_of_notes, note, show_error
from oumi_core.disk import DISK_REFUSALS
from oumi_core.errors import OumiError, RunStopped
from oumi_core.exit_codes import ExitCode, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["oumi", "run"]

_COMMANDS: Final = {
    "infer": ("oumi_core.cli.infer", "Answer a file of conversations, one question, or chat."),
    "engines": ("oumi_core.cli.engines", "List the engines that are installed."),
    "batch": ("oumi_core.cli.batch", "Send rows as a batch, and have the answers later."),
    "runs": ("oumi_core.cli.runs", "Show what the runs to an output have done."),
    "config": ("oumi_core.cli.config", "Check a config, or print the schema of one."),
    "completion": ("oumi_core.cli.completion", "Print the script for completion in a shell."),
}
"""Name -> the module with the click command `command`, and what `oumi --help` says of it."""

_PIPE_CLOSED = 141
"""What shells report of a program whose reader went away (`oumi ... | head`)."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command of that name; None if there is none."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name where one is unknown."""
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches  # noqa: PLC0415 - import on use: only on an error

            near = get_close_matches(args[0], _COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(_COMMANDS)}"
            raise click.UsageError(f"there is no command '{args[0]}'; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The commands' lines in the help, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that goes away ends it without a word, a full disk with one.

        Raises:
            RunStopped: the disk refuses what is printed.
        """
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_output()
            return _PIPE_CLOSED
        except OSError as error:
            if error.errno not in DISK_REFUSALS:
                raise
            _discard_output()
            raise RunStopped(
                f"{error.filename or 'standard output'}: the disk refused a write: "
                f"{error.strerror}; make room and run the same again"
            ) from error
        return code


def _discard_output() -> None:
    """What is still in the buffer must not raise again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import version  # noqa: PLC0415 - import on use: costs 30 ms

    click.echo(f"oumi-core {version('oumi-core')} on Python {sys.version.partition(' ')[0]}")
    ctx.exit()


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version and exit.",
)
def oumi() -> None:
    """Run LLM inference on any engine, chosen by a string.

    Exit codes: 0 all rows answered, 1 some failed, 2 wrong use or config, 3 stopped early,
    130 interrupted by Ctrl-C, 143 by SIGTERM; after 3, 130 and 143 the same command goes on.
    OUMI_DEBUG=1 shows where an error was raised.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program and turn whatever ends it into a message and an exit code."""
    _prepare()
    try:
        code = oumi.main(arguments, prog_name="oumi", standalone_mode=False)
    except click.ClickException as error:
        return _misused(error)
    except click.Abort:  # click's word for Ctrl-C
        note("interrupted")
        return ExitCode.INTERRUPTED
    except OumiError as error:
        show_error(error)
        return exit_code_of(error)
    return code if isinstance(code, int) else 0


def _misused(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return ExitCode.WRONG_USE
    note(error.format_message(), label="error", style="red")
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        note(f"{context.command_path} --help shows how it is used")
    return ExitCode.WRONG_USE


def _prepare() -> None:
    """Have text that an encoding lacks, and warnings, shown in a way that a person can read."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not where it was closed before we started
            stream.reconfigure(errors="replace")
    events_instead_of_notes(False)
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = str(message)
        if text not in shown:
            shown.add(text)
            note(text, label="warning", style="yellow")

    warnings.showwarning = show

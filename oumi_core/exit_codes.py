"""What a program ends with, and by which error."""

from __future__ import annotations

from oumi_core.errors import ConfigError, InferenceFailed, OumiError, PluginError

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode:
    """What the command line ends with."""

    OK = 0
    """All rows have an answer."""
    SOME_FAILED = 1
    """Every row was tried and some failed."""
    WRONG_USE = 2
    """The command, a config or the input is wrong."""
    STOPPED = 3
    """The run ended early: an account, an engine or a disk gave out. The same command goes on."""
    INTERRUPTED = 130
    """Ctrl-C. The same command goes on."""
    TERMINATED = 143
    """SIGTERM, as a scheduler sends it. The same command goes on."""


def exit_code_of(error: OumiError) -> int:
    """The exit code of a program that this error ends."""
    if isinstance(error, ConfigError | PluginError):
        return ExitCode.WRONG_USE
    return ExitCode.SOME_FAILED if isinstance(error, InferenceFailed) else ExitCode.STOPPED

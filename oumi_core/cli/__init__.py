"""The command line: `oumi infer`, `oumi engines`, `oumi config`.

It knows nothing of particular engines. What is shown on a terminal (colours, tables, a bar) is
plain text elsewhere, and rich is imported only for a terminal. The program ends with the codes of
`oumi_core.exit_codes.ExitCode`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program `oumi`.

    Args:
        arguments: what follows the program's name; by default the command line's.

    Returns:
        The exit code.
    """
    from oumi_core.cli.app import run  # noqa: PLC0415 - import on use: click is for the program

    return run(arguments)

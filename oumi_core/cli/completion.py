"""`oumi completion`: the script that has a shell complete commands, options, engines and files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script for completion in SHELL.

    \b
    bash: echo 'eval "$(oumi completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(oumi completion zsh)"' >> ~/.zshrc
    fish: oumi completion fish > ~/.config/fish/completions/oumi.fish
    """  # noqa: D301 - click keeps the lines below the character \b as they are
    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise click.UsageError(f"this click completes nothing in {shell}; upgrade click", context)
    root = context.find_root().command
    click.echo(completion_class(root, {}, "oumi", "_OUMI_COMPLETE").source())

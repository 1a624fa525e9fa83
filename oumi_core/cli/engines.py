"""`oumi engines`: what is installed, from metadata alone, and what loading an engine shows."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from oumi_core.cli.console import is_terminal, paint
from oumi_core.plugin_names import ENGINE_REQUIREMENTS
from oumi_core.registry import ENGINE, PluginState, default_registry, find, list_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["command", "complete_engine"]

_COLUMNS: Final = ("name", "state", "distribution", "version", "reason")
_COLOURS: Final = {"available": "green", "ok": "green", "disabled": "dim"}
"""How a state is shown; the others are red."""

_BROKEN: Final = ("BROKEN", "broken")
"""The states of an engine that cannot be repaired by choosing or switching on."""


def complete_engine(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Names of installed engines, for a shell that completes one."""
    return sorted({info.name for info in list_plugins() if info.name.startswith(incomplete)})


@click.group("engines", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--check", is_flag=True, help="Load each, in a process of its own; 1 if one is broken."
)
@click.pass_context
def command(context: click.Context, as_json: bool, check: bool) -> int:
    """List the engines that are installed. Imports none of them, unless --check is given."""
    if context.invoked_subcommand is not None:
        return 0
    rows = [info.to_dict() for info in list_plugins()]
    if check:
        rows = _checked(rows)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif is_terminal(sys.stdout):
        _print_table(rows)
    else:
        _print_lines(rows)
    return int(check and any(row["state"] in _BROKEN for row in rows))


def _checked(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what loading each showed; those that are not available stay as they are."""
    from oumi_core.probe import probe_all  # noqa: PLC0415 - import on use: the listing loads none

    reports = iter(probe_all(ENGINE))
    checked = []
    for row in rows:
        if row["state"] == PluginState.AVAILABLE:
            report = next(reports)
            shown = {"state": report.state, "reason": report.error, "summary": report.summary}
            more = {"contract": report.contract, "capabilities": report.capabilities}
            checked.append({**row, **shown, **more})
        else:
            checked.append(row)
    return checked


def _print_lines(rows: Sequence[Mapping[str, Any]]) -> None:
    cells = [[str(row[column] or "") for column in _COLUMNS] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(_COLUMNS))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - import on use: only terminals need it
    from rich.text import Text  # noqa: PLC0415 - as above

    from oumi_core.cli.console import rich_console  # noqa: PLC0415 - as above

    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("engine", style="bold", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("from", overflow="fold")
    table.add_column("", overflow="fold")
    for row in rows:
        state = Text(row["state"], _COLOURS.get(row["state"], "red"))
        origin = f"{row['distribution']} {row['version']}"
        table.add_row(row["name"], state, origin, row["reason"] or row.get("summary") or "")
    console = rich_console()
    console.print(table)
    here = {row["name"] for row in rows}
    more = [(name, pip) for name, pip in ENGINE_REQUIREMENTS.items() if pip and name not in here]
    if more:
        ways = ", ".join(f"{name} (pip install {pip})" for name, pip in more)
        console.print(f"\nmore: {ways}", style="dim")


@command.command("show")
@click.argument("name", shell_complete=complete_engine)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> int:
    """Load one engine, in a process of its own, and print what it can do; 1 if it is broken."""
    from oumi_core.probe import probe  # noqa: PLC0415 - import on use: the listing loads none

    listed = default_registry().lookup(ENGINE, name)
    if not listed:
        find(ENGINE, name)  # loads nothing, as there is nothing: raises what to do instead
    report = probe(ENGINE, name)
    row = {**listed[0].to_dict(), **report.to_dict(), "name": listed[0].name}
    if not report.ok and listed[0].state is not PluginState.AVAILABLE:
        row["state"] = listed[0].state.value  # says more than that it did not load
    if as_json:
        click.echo(json.dumps(row, indent=2))
    else:
        _print_details(row)
    return 0 if report.ok else 1


def _print_details(row: Mapping[str, Any]) -> None:
    colour = _COLOURS.get(row["state"], "red")
    state = paint(row["state"], colour, stream=sys.stdout)
    click.echo(f"{paint(row['name'], 'bold', stream=sys.stdout)}  {state}")
    for label, text in _facts(row):
        click.echo(f"  {paint(label.ljust(12), 'dim', stream=sys.stdout)}  {text}")


def _facts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What there is to say, as pairs of a label and a text."""
    if row["error"]:
        yield "why", row["error"]
    if row["summary"]:
        yield "is", row["summary"]
    if row["distribution"]:
        yield "from", f"{row['distribution']} {row['version']}"
    if row["provider"]:
        yield "server", row["provider"]["base_url"]
        if row["provider"]["api_key_env"]:
            yield "key", f"in ${row['provider']['api_key_env']}"
    if row["class_path"]:
        yield "class", row["class_path"]
        yield "contract", str(row["contract"])
    for label, value in (row["capabilities"] or {}).items():
        yield label, _answer(value)
    if row["unknown_hooks"]:
        yield "ignored", f"hooks that this oumi-core has not: {', '.join(row['unknown_hooks'])}"


def _answer(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)

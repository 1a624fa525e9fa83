"""`oumi runs`: what is in the journal of an output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from oumi_core.cli.console import paint
from oumi_core.cli.report import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oumi_core.run.journal_view import Counts, JournalView

__all__ = ["command"]


@click.group("runs")
def command() -> None:
    """Look at what runs have done."""


@command.command("show")
@click.argument("output", type=click.Path(), metavar="OUT")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(output: str, as_json: bool) -> None:
    """Print what is in the journal of OUT, the output_path of a run (the journal: OUT.oumi.db).

    Changes nothing. A journal that a run is writing cannot be read until the run has ended.
    """
    from oumi_core.run.journal_view import view_journal  # noqa: PLC0415 - import on use: help needs none

    view = view_journal(output)
    if as_json:
        click.echo(json.dumps(view.to_dict()))
        return
    click.echo(paint(view.path, "bold", stream=sys.stdout))
    for label, text in _facts(view):
        click.echo(f"  {paint(label.ljust(9), 'dim', stream=sys.stdout)}  {text}")


def _facts(view: JournalView) -> Iterator[tuple[str, str]]:
    """What there is to say, as pairs of a label and a text."""
    if view.first_started is not None:
        span = duration((view.last_written - view.first_started).total_seconds())
        began, ended = (f"{at:%Y-%m-%d %H:%M:%S}" for at in (view.first_started, view.last_written))
        yield "runs", f"{view.runs:,}, from {began} to {ended} UTC ({span})"
    yield from _counts("last run", view.last_run)
    if view.earlier.rows:
        yield from _counts("earlier", view.earlier)


def _counts(label: str, counts: Counts) -> Iterator[tuple[str, str]]:
    text = f"{counts.rows:,} {'row' if counts.rows == 1 else 'rows'}: {counts.succeeded:,} ok"
    if counts.failed:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.failed.items())
        text += f", {sum(counts.failed.values()):,} failed ({kinds})"
        text += f", {counts.retryable:,} of which the next run tries again"
    yield label, text
    if counts.median_latency is not None:
        attempts = f"{counts.attempts:,} {'attempt' if counts.attempts == 1 else 'attempts'}"
        tokens = f"{counts.prompt_tokens:,} tokens in, {counts.completion_tokens:,} out"
        if counts.cost is not None:
            tokens += f"; cost {counts.cost:,.6g}"
        yield "", f"{attempts}; {tokens}; median {counts.median_latency:g} s a row"

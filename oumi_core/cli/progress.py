"""The bar of a run on a terminal: rows, rate, tokens, failures and the time that is left."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from oumi_core.cli.console import rich_console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType
    from rich.table import Table

    from oumi_core.cli.pace import Pace
    from oumi_core.run.run import Run

__all__ = ["Bar", "progress"]

_PER_SECOND: Final = 8
_ROOM_FOR_ECHO: Final = 3
"""Columns left free for the `^C` that the terminal writes: it must not break the line."""

_STOPPING: Final = "finishing; Ctrl-C again cancels"


class Bar:
    """Draws what the run's summary says, whenever the terminal is refreshed.

    The run is asked a few times a second, and tells nothing itself: a row costs nothing more.

    Attributes:
        stopping: True once the run was asked to stop.
    """

    def __init__(self, run: Run, pace: Pace, console: Console) -> None:
        from rich.spinner import Spinner  # noqa: PLC0415 - import on use: only terminals need it

        self.stopping = False
        self._console = console
        self._spinner = Spinner("dots")
        self._run = run
        self._pace = pace

    def render(self) -> RenderableType:
        """The bar as it is now; before the first result, that the run is starting."""
        if self._run.summary().rows:
            return self._progress()
        self._spinner.text = _STOPPING if self.stopping else "starting"
        return self._spinner

    def _progress(self) -> Table:
        from rich.progress_bar import ProgressBar  # noqa: PLC0415 - import on use: only terminals need it
        from rich.table import Table  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415 - as above

        summary, total = self._run.summary(), self._run.total
        rates = self._pace.rates()
        rows = f"{summary.rows:,}" + (f"/{total:,}" if total is not None else "")
        facts: list[str | tuple[str, str]] = [f"{rows} rows  {rates.rows:,.1f}/s"]
        if summary.completion_tokens:
            facts.append(f"  {rates.tokens:,.0f} tok/s")
        if summary.failed:
            facts.append((f"  {sum(summary.failed.values()):,} failed", "red"))
        if self.stopping:
            facts.append((f"  {_STOPPING}", "yellow"))
        elif rates.eta is not None:
            facts.append(f"  {timedelta(seconds=round(rates.eta))} left")
        grid = Table.grid(padding=(0, 1))
        grid.width = self._console.width - _ROOM_FOR_ECHO
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        bar = ProgressBar(total, summary.rows, pulse=total is None)
        grid.add_row(bar, Text.assemble(*facts))
        return grid


@contextlib.contextmanager
def progress(run: Run, pace: Pace) -> Iterator[Bar]:
    """Show a bar on standard error while the run goes on; it is gone afterwards."""
    from rich.live import Live  # noqa: PLC0415 - import on use: only terminals need it

    console = rich_console(stderr=True)
    bar = Bar(run, pace, console)
    with Live(
        get_renderable=bar.render,
        console=console,
        refresh_per_second=_PER_SECOND,
        transient=True,
    ):
        yield bar

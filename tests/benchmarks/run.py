"""Measures what the project promises of speed and size, and prints one table.

    python tests/benchmarks/run.py [NAME ...] [--json]

Names are those of the measurements (`--help` lists them); without one, all are made. Nothing
here fails for being slow: the table says what holds, and a person decides.
"""

# ruff: noqa: T201 - a program that prints is what this is

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import TYPE_CHECKING

from harness import Line, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MEASUREMENTS = (
    *("import", "cli", "install", "conversations", "run", "batches", "memory", "http"),
    "llamacpp",
)
HEADINGS = ("what", "ours", "the other side", "compared", "must", "beyond", "verdict")


def main() -> int:
    """Make the measurements that the command line names."""
    parser = argparse.ArgumentParser(description="Measure speed and size; print one table.")
    parser.add_argument("name", nargs="*", metavar="NAME", help=", ".join(MEASUREMENTS))
    parser.add_argument("--json", action="store_true", help="a JSON object a line, not a table")
    options = parser.parse_args()
    unknown = [name for name in options.name if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}")
    lines: list[Line] = []
    try:
        for line in _measure(options.name or MEASUREMENTS):
            lines.append(line)  # noqa: PERF402 - those so far are printed if the next one fails
    finally:  # what was measured before something broke took minutes
        _print_all(lines, as_json=options.json)
    return 0


def _measure(names: Sequence[str]) -> Iterator[Line]:
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            yield from importlib.import_module(f"measure_{name}").measure()
        except Skipped as reason:
            print(f"skipped {name}: {reason}", file=sys.stderr)


def _print_all(lines: Sequence[Line], *, as_json: bool) -> None:
    if as_json:
        for line in lines:
            print(json.dumps(_as_dict(line)))
    else:
        _print_table([_cells(line) for line in lines])


def _cells(line: Line) -> tuple[str, ...]:
    limits = ("" if limit is None else f"{limit:g}" for limit in (line.must, line.beyond))
    return (line.what, line.ours, line.other, str(line.compared), *limits, line.verdict)


def _as_dict(line: Line) -> dict[str, object]:
    return {
        "what": line.what,
        "ours": line.ours,
        "other": line.other,
        "compared": line.compared.median,
        "spread": line.compared.spread,
        "unit": line.compared.unit,
        "must": line.must,
        "beyond": line.beyond,
        "verdict": line.verdict,
    }


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    """A table that reads as it is, and that Markdown takes too."""
    columns = zip(HEADINGS, *rows, strict=True)
    widths = [max(len(cell) for cell in column) for column in columns]
    rule = ["-" * width for width in widths]
    for row in (HEADINGS, rule, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    raise SystemExit(main())

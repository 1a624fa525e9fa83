"""CPU of the client per chat completion over HTTP, against plain aiohttp, openai and litellm."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
import venv
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, Line, Skipped, interleave
from measure_install import pip
from static_server import static_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Sides = Mapping[str, subprocess.Popen[str]]
    Costs = Mapping[str, Figure]

ROUNDS = {64: 7, 256: 5, 1000: 3}
"""By requests in flight: fewer where the SDKs take half a minute a round."""
REQUESTS = 3000
FEW, MANY = 64, 1000
DEAR = {"openai": 300, "litellm": 300}
"""Those that are so much dearer that fewer requests say as much, if enough to fill the pool."""

CLIENTS, OURS = (Path(__file__).with_name(name) for name in ("chat_clients.py", "chat_ours.py"))
LIMITS = {"call": (1.1, 1.0), "run": (1.25, 1.0)}
NAMES = {"call": "oumi-http, a call", "run": "oumi-http, a run with everything on"}
OTHERS = {"openai": "the openai SDK", "litellm": "litellm"}
OUMI = (5.0, 12.0)
"""Times plain aiohttp that Oumi 0.9 took: at best, and as it ships. Measured once, not here."""


def measure() -> Iterator[Line]:
    """Each side in its own process, all against one server, taking turns."""
    if importlib.util.find_spec("oumi_http") is None:
        raise Skipped("oumi-http is not installed")
    with ExitStack() as stack:
        url, server = stack.enter_context(static_server())
        programs = {"plain": CLIENTS, "call": OURS, "run": OURS}
        pythons = dict.fromkeys(programs, sys.executable)
        if importlib.util.find_spec("openai") is not None:
            programs["openai"], pythons["openai"] = CLIENTS, sys.executable
        litellm = stack.enter_context(_environment_of("litellm"))
        if litellm is not None:
            programs["litellm"], pythons["litellm"] = CLIENTS, litellm
        sides = {
            name: stack.enter_context(_side(pythons[name], program, name, url))
            for name, program in programs.items()
        }
        costs: dict[int, Costs] = {}
        for in_flight in ROUNDS:
            costs[in_flight] = took = _costs(sides, in_flight)
            yield from _against_aiohttp(took, in_flight, server)
            yield from _cheaper(took, in_flight)
    yield from _growth(costs)
    yield _cheaper_than_oumi(costs[FEW])


@contextmanager
def _environment_of(package: str) -> Iterator[str | None]:
    """The Python of a fresh environment with a package; None if it cannot be installed."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "bin/python")
        venv.create(folder, with_pip=True)
        try:
            pip(python, "install", package)
        except Skipped as reason:
            print(f"without {package}: {reason}", file=sys.stderr)  # noqa: T201 - as run.py does
            yield None
        else:
            yield str(python)


@contextmanager
def _side(python: str, program: Path, name: str, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [python, str(program), name, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _costs(sides: Sides, in_flight: int) -> Costs:
    work = {name: partial(_cost, name, process, in_flight) for name, process in sides.items()}
    return interleave(work, ROUNDS[in_flight], "us")


def _cost(name: str, process: subprocess.Popen[str], in_flight: int) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    requests = max(DEAR.get(name, REQUESTS), in_flight)
    process.stdin.write(f"{in_flight} {requests}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise Skipped(f"the side {name} broke off with {in_flight} in flight")
    return float(answer)


def _against_aiohttp(took: Costs, in_flight: int, server: str) -> Iterator[Line]:
    for ours, (must, beyond) in LIMITS.items():
        limited = ours == "call" or in_flight == FEW
        yield Line(
            f"{NAMES[ours]}, {in_flight:,} in flight, {server}",
            str(took[ours]),
            f"{took['plain']}: plain aiohttp",
            took[ours] / took["plain"],
            must=must if limited else None,
            beyond=beyond if limited else None,
        )


def _cheaper(took: Costs, in_flight: int) -> Iterator[Line]:
    """How many times cheaper a run with everything on is than an SDK's bare calls."""
    for other, name in OTHERS.items():
        if other in took:
            limited = other == "openai" and in_flight == FEW
            yield Line(
                f"times cheaper with everything on than {name}, {in_flight:,} in flight",
                str(took["run"]),
                f"{took[other]}: {name}",
                took[other] / took["run"],
                must=10 if limited else None,
                beyond=14 if limited else None,
                more_is_better=True,
            )


def _growth(costs: Mapping[int, Costs]) -> Iterator[Line]:
    # In different rounds, so the medians are compared: there are no pairs.
    few, many = costs[FEW], costs[MANY]
    for ours, name in NAMES.items():
        grown, plain = (many[key].median / few[key].median for key in (ours, "plain"))
        yield Line(
            f"{name}: growth from {FEW} to {MANY:,} in flight",
            str(many[ours]),
            f"{few[ours]} at {FEW}; plain aiohttp grows {plain:.2f} x",
            Figure([grown], "x"),
            must=1.8,
            beyond=1.5,
        )


def _cheaper_than_oumi(took: Costs) -> Line:
    cheap, shipped = OUMI
    ratio = took["plain"] / took["run"]
    return Line(
        f"times cheaper with everything on than Oumi 0.9 was, {FEW} in flight",
        str(took["run"]),
        f"quoted: {cheap:g} times plain aiohttp, {shipped:g} as it ships; not measured here",
        Figure([cheap * value for value in ratio.values], "x"),
        must=4,
        beyond=5,
        more_is_better=True,
    )

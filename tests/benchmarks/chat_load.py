"""The work that every way of asking for chat completions is given, and what it costs.

Each way is a program of its own (`chat_clients.py`, `chat_ours.py`), so that none pays for the
memory of another, and one can live in an environment of its own. It reads lines `IN_FLIGHT
REQUESTS`, and answers each with the CPU microseconds of its process per completion.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import resource
import sys
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    Cost = Callable[[int, int], float]
    """From requests in flight, and how many in all, to microseconds a request."""

T = TypeVar("T")

MODEL, KEY = "static-model", "sk-bench"
PROMPT = "What is the capital of France? Answer in one sentence, please. " * 8
ANSWER = "The capital"
"""How the server's one answer begins."""


def messages(number: int) -> list[dict[str, str]]:
    """A conversation of 0.6 kB; no two are alike."""
    return [
        {"role": "system", "content": "You answer briefly."},
        {"role": "user", "content": f"{number}. {PROMPT}"},
    ]


def cpu() -> float:
    """CPU seconds of this process so far, all threads and the kernel's work for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def awaited(
    client: Callable[[], AbstractAsyncContextManager[Callable[[T], Awaitable[str]]]],
    row: Callable[[int], T],
) -> Cost:
    """The cost of a client whose calls are awaited.

    Args:
        client: opens it, and gives the function that asks.
        row: what is asked, by its number; made before anything is measured.
    """
    # oumi-core runs on uvloop where it is installed, so all do.
    uvloop = importlib.util.find_spec("uvloop")
    new_loop = importlib.import_module("uvloop").new_event_loop if uvloop else None
    runner = asyncio.Runner(loop_factory=new_loop)

    async def cost(in_flight: int, requests: int) -> float:
        rows = [row(number) for number in range(requests)]
        async with client() as ask:
            await _ask_all(ask, [row(number) for number in range(in_flight)], in_flight)
            gc.collect()
            before = cpu()
            await _ask_all(ask, rows, in_flight)
            return (cpu() - before) / requests * 1e6

    return lambda in_flight, requests: runner.run(cost(in_flight, requests))


async def _ask_all(ask: Callable[[T], Awaitable[str]], rows: Iterable[T], in_flight: int) -> None:
    left = iter(rows)

    async def worker() -> None:
        for row in left:
            assert (await ask(row)).startswith(ANSWER)

    await asyncio.gather(*(worker() for _ in range(in_flight)))


def serve(sides: dict[str, Callable[[str], Cost]]) -> None:
    """Be the side that the command line names, against the server that it names.

    Args:
        sides: name -> gives the cost, of a server's URL.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a socket each for 1,000 in flight
    cost = sides[sys.argv[1]](sys.argv[2])
    for line in sys.stdin:
        in_flight, requests = map(int, line.split())
        print(cost(in_flight, requests), flush=True)  # noqa: T201 - read by who started this


def text_of(answer: Any) -> str:
    """The text of a completion as the SDKs have it."""
    text: str = answer.choices[0].message.content
    return text

"""The client's CPU per chat completion: this engine, plain aiohttp, and the openai SDK if there.

    python tests/bench/chat_cpu.py [--rounds 7] [--requests 3000] [--loop asyncio|uvloop]

All sides ask one static server in another process, take turns, and are measured by getrusage in
this process after their connections are open. What is asked is at hand: conversations for this
engine, dicts for the others. Plain aiohttp encodes and decodes with msgspec and takes the text
out. Nothing fails for being slow.
"""

# ruff: noqa: T201 - a program that prints is what this is

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib
import importlib.util
import resource
import statistics
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from oumi_core.configs import GenerationParams, ModelParams, RemoteParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.types.conversation import Conversation, Message, Role
from static_server import static_server

from oumi_http.remote import RemoteEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Ask = Callable[[int], Awaitable[str]]
    Side = Callable[[str], AbstractAsyncContextManager[Ask]]

IN_FLIGHT = (64, 256, 1000)
SDK_SHARE = 10
"""The SDK is so much dearer that a tenth of the requests says as much."""

PROMPT = "What is the capital of France? Answer in one sentence, please. " * 8
MODEL, KEY = ModelParams(model_name="static-model"), "sk-bench"


def conversation(number: int) -> Conversation:
    return Conversation(
        [Message(Role.SYSTEM, "You answer briefly."), Message(Role.USER, f"{number}. {PROMPT}")]
    )


def body(number: int) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "You answer briefly."},
        {"role": "user", "content": f"{number}. {PROMPT}"},
    ]
    return {"model": "static-model", "messages": messages, "max_tokens": 1024, "temperature": 0.0}


ROWS = 1000
CONVERSATIONS = [conversation(number) for number in range(ROWS)]
BODIES = [body(number) for number in range(ROWS)]


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Ask]:
    engine = RemoteEngine(EngineConfig(MODEL, RemoteParams(api_url=url, api_key=KEY)))
    generation = GenerationParams()

    async def ask(number: int) -> str:
        request = Request(CONVERSATIONS[number % ROWS], MODEL, generation)
        return (await engine.complete(request)).text

    await engine.start()
    try:
        yield ask
    finally:
        await engine.stop()


@asynccontextmanager
async def plain(url: str) -> AsyncIterator[Ask]:
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(number: int) -> str:
            data = encode(BODIES[number % ROWS])
            async with session.post(f"{url}/v1/chat/completions", data=data) as response:
                answer = decode(await response.read())
            text: str = answer["choices"][0]["message"]["content"]
            return text

        yield ask


@asynccontextmanager
async def sdk(url: str) -> AsyncIterator[Ask]:
    openai = importlib.import_module("openai")
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:

        async def ask(number: int) -> str:
            answer = await client.chat.completions.create(**BODIES[number % ROWS])
            text: str = answer.choices[0].message.content
            return text

        yield ask


async def ask_all(ask: Ask, in_flight: int, requests: int) -> None:
    rows = iter(range(requests))

    async def worker() -> None:
        for row in rows:
            assert (await ask(row)).startswith("The capital")

    await asyncio.gather(*(worker() for _ in range(in_flight)))


async def cost(side: Side, url: str, in_flight: int, requests: int) -> float:
    """CPU microseconds per request, system time included, connections open before."""
    async with side(url) as ask:
        await ask_all(ask, in_flight, in_flight)
        gc.collect()
        before = resource.getrusage(resource.RUSAGE_SELF)
        await ask_all(ask, in_flight, requests)
        after = resource.getrusage(resource.RUSAGE_SELF)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent / requests * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a socket each for 1,000 in flight
    factory = importlib.import_module("uvloop").new_event_loop if options.loop == "uvloop" else None
    sides: dict[str, Side] = {"plain aiohttp": plain, "oumi-http": ours}
    if importlib.util.find_spec("openai") is not None:
        sides["openai SDK"] = sdk

    medians: dict[tuple[str, int], float] = {}
    with static_server() as (url, name), asyncio.Runner(loop_factory=factory) as runner:
        print(f"CPU us per request, {options.loop}, against {name}, {options.rounds} rounds:")
        for in_flight in IN_FLIGHT:
            costs: dict[str, list[float]] = {side: [] for side in sides}
            for number in range(options.rounds + 1):
                for side, make in sides.items():
                    share = SDK_SHARE if make is sdk else 1
                    spent = runner.run(cost(make, url, in_flight, options.requests // share))
                    if number:  # the first round warms up
                        costs[side].append(spent)
            for side, values in costs.items():
                pairs = zip(values, costs["plain aiohttp"], strict=True)
                ratio = statistics.median(mine / other for mine, other in pairs)
                medians[side, in_flight] = statistics.median(values)
                print(
                    f"  {in_flight:5} in flight  {side:14} {medians[side, in_flight]:8.1f} us"
                    f"  {ratio:6.2f}x plain aiohttp",
                    flush=True,
                )
    for side in sides:
        growth = medians[side, IN_FLIGHT[-1]] / medians[side, IN_FLIGHT[0]]
        print(f"  growth {IN_FLIGHT[0]} -> {IN_FLIGHT[-1]}: {side:14} {growth:5.2f}x")


if __name__ == "__main__":
    main()

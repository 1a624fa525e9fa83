"""The engine `remote`: a call alone, and a run with everything on; see `chat_load`.

python chat_ours.py call|run URL
"""

from __future__ import annotations

import gc
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from chat_load import ANSWER, KEY, MODEL, awaited, cpu, messages, serve
from oumi_http.remote import RemoteEngine

from oumi_core import get_engine
from oumi_core.configs import GenerationParams, ModelParams, RemoteParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.types.conversation import Conversation, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from chat_load import Cost

    Ask = Callable[[Conversation], Awaitable[str]]


def conversation(number: int) -> Conversation:
    """A row."""
    return Conversation([Message.from_dict(message) for message in messages(number)])


@asynccontextmanager
async def call(url: str) -> AsyncIterator[Ask]:
    """`complete`, with nothing around it."""
    model, generation = ModelParams(model_name=MODEL), GenerationParams()
    engine = RemoteEngine(EngineConfig(model, RemoteParams(api_url=url, api_key=KEY)))

    async def ask(row: Conversation) -> str:
        return (await engine.complete(Request(row, model, generation))).text

    await engine.start()
    try:
        yield ask
    finally:
        await engine.stop()


def run(url: str) -> Cost:
    """`run` with an output file: its journal, retries, limits, and answers read from each result.

    The first run opens the connections, and lasts until adaptive limits let all workers send.
    """

    def cost(in_flight: int, requests: int) -> float:
        rows = [conversation(number) for number in range(requests)]
        with (
            get_engine(
                "remote", model=MODEL, api_url=url, api_key=KEY, num_workers=in_flight
            ) as engine,
            tempfile.TemporaryDirectory() as folder,
        ):
            for _ in engine.run([conversation(number) for number in range(8 * in_flight)]):
                pass
            gc.collect()
            before = cpu()
            for result in engine.run(rows, output_path=f"{folder}/out.jsonl"):
                assert result.text.startswith(ANSWER)
            return (cpu() - before) / requests * 1e6

    return cost


if __name__ == "__main__":
    serve({"call": lambda url: awaited(partial(call, url), conversation), "run": run})

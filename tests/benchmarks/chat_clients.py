"""What oumi-http is compared with: plain aiohttp, the openai SDK, litellm; see `chat_load`.

python chat_clients.py plain|openai|litellm URL
"""

from __future__ import annotations

import importlib
import os
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from chat_load import KEY, MODEL, awaited, messages, serve, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from chat_load import Cost

    Ask = Callable[[dict[str, Any]], Awaitable[str]]


PATIENCE = 600.0
"""Seconds. With 1,000 in flight on a busy machine the SDKs give up connecting if they are let."""


def body(number: int) -> dict[str, Any]:
    """What is sent, as it stands on the wire; the same as the engine sends."""
    return {
        "model": MODEL,
        "messages": messages(number),
        "max_tokens": 1024,
        "temperature": 0.0,
    }


@asynccontextmanager
async def plain(url: str) -> AsyncIterator[Ask]:
    """aiohttp as its documentation shows it; msgspec encodes and decodes, nothing is checked."""
    aiohttp, msgspec = importlib.import_module("aiohttp"), importlib.import_module("msgspec")
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def ask(body: dict[str, Any]) -> str:
            data = encode(body)
            async with session.post(f"{url}/v1/chat/completions", data=data) as response:
                answer = decode(await response.read())
            text: str = answer["choices"][0]["message"]["content"]
            return text

        yield ask


@asynccontextmanager
async def openai(url: str) -> AsyncIterator[Ask]:
    """The openai SDK, its retries off."""
    sdk = importlib.import_module("openai")
    fixed = {"base_url": f"{url}/v1", "api_key": KEY, "max_retries": 0, "timeout": PATIENCE}
    async with sdk.AsyncOpenAI(**fixed) as client:

        async def ask(body: dict[str, Any]) -> str:
            return text_of(await client.chat.completions.create(**body))

        yield ask


@asynccontextmanager
async def litellm(url: str) -> AsyncIterator[Ask]:
    """litellm, its retries off, and no list of prices fetched."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    library = importlib.import_module("litellm")
    fixed = {"api_base": f"{url}/v1", "api_key": KEY, "max_retries": 0, "timeout": PATIENCE}

    async def ask(body: dict[str, Any]) -> str:
        asked = {**body, "model": f"openai/{MODEL}"}
        return text_of(await library.acompletion(**asked, **fixed))

    yield ask


def side(client: Callable[[str], Any]) -> Callable[[str], Cost]:
    """A client as a side of the comparison."""
    return lambda url: awaited(partial(client, url), body)


if __name__ == "__main__":
    serve({"plain": side(plain), "openai": side(openai), "litellm": side(litellm)})

"""Engines that are started, and requests for them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from oumi_core.configs import GenerationParams, ModelParams, RemoteParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.types.conversation import Conversation, Message, Role

from oumi_openai.engine import OpenAIEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from oumi_core.batching.backend import BatchBackend

    Started = Callable[..., AbstractAsyncContextManager[OpenAIEngine]]
    Opened = Callable[..., AbstractAsyncContextManager[BatchBackend]]
    Asks = Callable[..., Request]

# An example may take its time on a machine that does other things too: a deadline would flake.
settings.register_profile("oumi", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("oumi")


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the account of who runs the tests."""
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_API_VERSION",
        "OPENAI_BASE_URL",
        "AZURE_OPENAI_ENDPOINT",
        "AZURE_OPENAI_API_KEY",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started() -> Started:
    """Makes an engine for a server, starts it, and stops it at the end of the block."""

    @asynccontextmanager
    async def start(
        url: str | None,
        *,
        model: str = "gpt-4o-mini",
        engine_args: dict[str, Any] | None = None,
        **remote: Any,
    ) -> AsyncIterator[OpenAIEngine]:
        params = {"api_url": url, "api_key": "sk-test", "connection_timeout": 20.0, **remote}
        engine = OpenAIEngine(
            EngineConfig(ModelParams(model_name=model), RemoteParams(**params), engine_args or {})
        )
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()

    return start


@pytest.fixture
def opened(started: Started) -> Opened:
    """The backend of an engine for a server."""

    @asynccontextmanager
    async def open_backend(url: str, **engine: Any) -> AsyncIterator[BatchBackend]:
        async with started(url, **engine) as one:
            yield one.batch_backend()

    return open_backend


@pytest.fixture
def asks() -> Asks:
    """Makes a request out of a text."""

    def ask(text: str = "hello", *, model: str = "gpt-4o-mini", **fields: Any) -> Request:
        constraint = fields.pop("constraint", None)
        request = Request(
            Conversation([Message(Role.USER, text)]),
            ModelParams(model_name=model),
            GenerationParams(**fields),
        )
        return attrs.evolve(request, constraint=constraint)

    return ask

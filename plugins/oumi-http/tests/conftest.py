"""Engines that are started, and certificates."""

from __future__ import annotations

import signal
import ssl
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import settings
from oumi_core.configs import GenerationParams, ModelParams, RemoteParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.types.conversation import Conversation, Message, Role

from oumi_http.remote import RemoteEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from oumi_http.engine import ChatCompletionsEngine

    Started = Callable[..., AbstractAsyncContextManager[ChatCompletionsEngine]]
    Asks = Callable[..., Request]

# An example may take its time on a machine that does other things too: a deadline would flake.
settings.register_profile("oumi", deadline=None)
settings.load_profile("oumi")

# A program ignores SIGINT if the one that starts it does, such as a job runner, or a script that
# ends a line with `&`. What a test then interrupts would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MODEL = ModelParams(model_name="m")


@pytest.fixture
def started() -> Started:
    """Makes an engine for a server, starts it, and stops it at the end of the block."""

    @asynccontextmanager
    async def start(
        url: str,
        *,
        cls: type[ChatCompletionsEngine] = RemoteEngine,
        engine_args: dict[str, Any] | None = None,
        **remote: Any,
    ) -> AsyncIterator[ChatCompletionsEngine]:
        params = RemoteParams(**{"api_url": url, "connection_timeout": 20.0, **remote})
        engine = cls(EngineConfig(MODEL, params, engine_args or {}))
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()

    return start


@pytest.fixture
def asks() -> Asks:
    """Makes a request out of a text, or of messages."""

    def ask(content: str | list[Message] = "hello there", **fields: Any) -> Request:
        messages = [Message(Role.USER, content)] if isinstance(content, str) else content
        tools = fields.pop("tools", None)
        constraint = fields.pop("constraint", None)
        request = Request(Conversation(messages, tools=tools), MODEL, GenerationParams(**fields))
        return attrs.evolve(request, constraint=constraint)

    return ask


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key, for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def served(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """A server's side of TLS, with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context

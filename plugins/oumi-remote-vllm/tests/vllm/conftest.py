"""One vLLM server for all tests of this folder: the tiny model with both adapters, on the CPU."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from oumi_core import get_engine
from oumi_core.types.conversation import Conversation, Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from oumi_core.inference import InferenceEngine

    Engines = Callable[..., InferenceEngine]

TINY = Path(__file__).parents[4] / "tests" / "models" / "tiny"
_PIRATE, _SHOUT = (TINY / "adapters" / style for style in ("pirate", "shout"))
HOST = "127.0.0.1"
BASE = "meta-llama/Llama-3.1-8B-Instruct"
_READY_SECONDS = 300.0


@attrs.frozen
class Server:
    """A vLLM server that is up.

    Attributes:
        url: its scheme, host and port.
        model: the folder of the model that it serves as `BASE` and as `tiny`.
        pirate: the folder of the adapter that it serves as `my-adapter` and `adapter-v1`.
        shout: the folder of the adapter that it serves as `adapter-v2`.
    """

    url: str
    model: Path = TINY
    pirate: Path = _PIRATE
    shout: Path = _SHOUT


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server; it takes half a minute to be up."""
    adapters = [
        *("--enable-lora", "--max-lora-rank", "8", "--max-loras", "4", "--lora-modules"),
        *(f"my-adapter={_PIRATE}", f"adapter-v1={_PIRATE}", f"adapter-v2={_SHOUT}"),
    ]
    tools = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    priority = ["--scheduling-policy", "priority"]
    arguments = [*("--served-model-name", BASE, "tiny"), *adapters, *tools, *priority]
    with serving(TINY, *arguments, log=tmp_path_factory.mktemp("vllm") / "server.log") as url:
        yield Server(url)


@pytest.fixture(scope="session", name="serving")
def make_serving() -> Callable[..., AbstractContextManager[str]]:
    """Starts another server, of another model."""
    return serving


@contextlib.contextmanager
def serving(model: Path, *arguments: str, log: Path) -> Iterator[str]:
    """A vLLM server in a process group of its own; its URL."""
    with socket.socket() as unused:
        unused.bind((HOST, 0))
        port = str(unused.getsockname()[1])
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--host", HOST, "--port", port),
        *("--dtype", "float32", "--enforce-eager", "--max-model-len", "1024"),
        *("--gpu-memory-utilization", "0.3"),  # for each of two servers
    ]
    environ = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            env=environ,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://{HOST}:{port}"
    try:
        wait_until_up(process, url, log)
        yield url
    finally:
        # The server's engine is a process of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_up(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, urllib.error.URLError):
            urllib.request.urlopen(f"{url}/health", timeout=5).close()  # noqa: S310 - our own server
            return
        time.sleep(0.5)
    pytest.fail(f"the server did not come up:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture
def engines(server: Server) -> Iterator[Engines]:
    """Makes engines for the server, and closes them at the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(model: str = "tiny", **fields: Any) -> InferenceEngine:
            engine = get_engine("remote-vllm", model=model, api_url=server.url, **fields)
            return stack.enter_context(engine)

        yield make


def asking(*texts: str, system: str | None = None) -> list[Conversation]:
    before = [Message(Role.SYSTEM, system)] if system else []
    return [Conversation([*before, Message(Role.USER, text)]) for text in texts]


@pytest.fixture
def ask() -> Callable[..., list[Conversation]]:
    """Makes a conversation of each text."""
    return asking

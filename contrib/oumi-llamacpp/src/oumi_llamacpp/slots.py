"""llama.cpp at work: a loaded model, and the threads that wait for its answers."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xllamacpp
from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import write_body

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Call", "Slots"]

_LONGEST_SOCKET = 100
"""Bytes of the path of a Unix socket; Linux takes 107."""

_SHOWN = 300


class Call:
    """A request under way.

    llama.cpp asks after each token whether to go on, and between the batches of a long prompt:
    that is where a call that was given up ends, and its slot is free again.

    Attributes:
        given_up: True once nobody waits for the answer any more.
    """

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self.given_up = False

    def __call__(self, chunk: bytes) -> bool:
        """Hand a chunk on; True tells llama.cpp to stop. Called in a thread of `Slots`."""
        if not self.given_up:
            self._take(chunk)
        return self.given_up


class Slots:
    """A model in memory with room for some requests at a time.

    `xllamacpp.Server` blocks the caller until the answer is there, with the interpreter's lock
    released; so each slot has a thread.
    """

    def __init__(self, params: Any) -> None:
        """Load the model; takes seconds, so not on an event loop.

        Raises:
            RuntimeError: llama.cpp cannot load it. It does not say why.
        """
        # The library always opens an HTTP server too. It is put on a Unix socket in a folder of
        # this user's, which is deleted at once: nobody can reach it. (The key is for the rare
        # TMPDIR whose path is too long for a socket.)
        with tempfile.TemporaryDirectory(prefix="oumi-llamacpp-") as folder:
            socket = str(Path(folder) / "s.sock")
            if len(socket.encode()) <= _LONGEST_SOCKET:
                params.hostnames = [socket]
            params.api_keys = [secrets.token_hex(32)]
            params.ui = False
            params.n_threads_http = 1
            self._server = xllamacpp.Server(params)
        # Its loop may not have begun when the constructor returns, and one that is told to end
        # before it has begun runs for ever. An answer of one token shows that it runs.
        self._server.handle_completions({"prompt": "", "n_predict": 1, "cache_prompt": False})
        self._pool = ThreadPoolExecutor(params.n_parallel, thread_name_prefix="llamacpp")
        self._calls: set[Call] = set()
        self._closed = False

    async def run(self, body: dict[str, Any], call: Call) -> None:
        """Send a chat-completions body, hand each chunk of the answer to `call`.

        If this is cancelled, the call is given up.

        Raises:
            EngineError: llama.cpp refuses the request, or the engine was stopped meanwhile.
        """
        if self._closed:
            raise _stopped()
        self._calls.add(call)
        try:
            await asyncio.wrap_future(self._pool.submit(self._work, write_body(body), call))
        finally:
            stopped, call.given_up = self._closed, True
            self._calls.discard(call)
        if stopped:
            raise _stopped()

    def _work(self, body: bytes, call: Call) -> None:
        if call.given_up:
            return
        try:
            self._server.handle_chat_completions(body, call)
        except (ValueError, RuntimeError) as error:
            # What the chat template or the parser of the request objects to.
            reason = f"llama.cpp refuses the request: {_reason(error)}"
            raise EngineError.bad_request(reason) from error

    def close(self) -> None:
        """Give up what is under way, wait for its threads, free the model; blocks meanwhile."""
        self._closed = True
        for call in tuple(self._calls):
            call.given_up = True
        self._pool.shutdown()
        del self._server


def _reason(error: Exception) -> str:
    """The line that says it: the last one of a template's objection, else the first."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    line = lines[-1] if lines[-1].startswith("Error: ") else lines[0]
    return line.removeprefix("Error: ")[:_SHOWN]


def _stopped() -> EngineError:
    return EngineError(Failure(FailureKind.CANCELED, "the engine was stopped"))

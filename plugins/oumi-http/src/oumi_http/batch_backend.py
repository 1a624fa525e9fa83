"""`ChatBatches`: batches of any engine of the chat-completions format."""

from __future__ import annotations

import asyncio
import tempfile
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from oumi_core.batching.backend import BatchBackend, BatchLimits
from oumi_core.batching.leave import next_request
from oumi_core.batching.status import BatchStatus
from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import BatchLine, decode_batch_line, encode_batch_line
from oumi_core.wire.given_body import given_body

from oumi_http.answers import json_of
from oumi_http.batch_answers import TOKEN, part_page, part_status, stored_id
from oumi_http.batch_files import download, line_blocks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from oumi_core.batching.backend import Part
    from oumi_core.batching.status import PartStatus
    from oumi_core.engine import Request
    from oumi_core.guided.constraint import Constraint

    from oumi_http.batch_api import BatchApi, OpenBatchApi
    from oumi_http.engine import ChatCompletionsEngine

__all__ = ["ChatBatches"]

_PAGE = 100
"""The most batches that OpenAI lists at once."""

_LOOKS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds between looks at a file that was stored but cannot be used yet."""

_ENDED = (400, 409, 422)
"""With these servers refuse to cancel what has ended."""

_UNSHOWN = (405, 501)
"""With these servers answer for what they do not have."""

_NOT_YET = frozenset({"pending", "notrunning", "running", "processing"})
"""States of a stored file that no batch can be made of yet; Azure checks files first."""


class ChatBatches(BatchBackend):
    """A backend for a server with OpenAI's files and batches.

    A line holds the body that the engine would send for the same request, and an answer is read
    as the engine would read it.

    Args:
        engine: whose requests these are.
        open_api: opens connections to its server's files and batches.
        endpoint: the path that lines and batches name, as the server calls it.
        model: the name of the model in the lines, where it is another than that of the requests.
    """

    as_given: ClassVar[bool] = True
    # 200 MB are not said to be MB or MiB, and the file is not all that is sent.
    limits: BatchLimits = BatchLimits(max_requests=50_000, max_bytes=190_000_000)

    def __init__(
        self,
        engine: ChatCompletionsEngine,
        open_api: OpenBatchApi,
        *,
        endpoint: str = "/v1/chat/completions",
        model: str | None = None,
    ) -> None:
        self._engine = engine
        self._open = open_api
        self._endpoint = endpoint
        self._model = model

    def line(self, custom_id: str, request: Request) -> bytes:
        """A line with the body that the engine would send; see `BatchBackend.line`.

        A row that brings its body is sent that, of the model that the batch is for.
        """
        body = given_body(request.conversation) if request.conversation.extra else None
        if body is None:
            body = self._engine.whole_body(request)
        else:
            body["model"] = request.model.model_name
        if self._model is not None:
            body["model"] = self._model
        return encode_batch_line(custom_id, body, self._endpoint)

    async def upload(self, part: Part) -> str:
        """Store the file, read piece by piece while it is sent; its id."""
        with await asyncio.to_thread(part.path.open, "rb") as file:
            async with self._open() as api:
                answer = await api.upload(file, f"oumi-{part.token}.jsonl")
        return stored_id(json_of(answer), "file")

    async def submit(self, part: Part, uploaded: str | None) -> str:
        """Start a batch of the stored file, once the server can use that; its id."""
        if uploaded is None:
            uploaded = await self.upload(part)
            await next_request()
        async with self._open() as api:
            await self._ready(api, uploaded)
            await next_request()
            answer = await api.create(
                {
                    "input_file_id": uploaded,
                    "endpoint": self._endpoint,
                    "completion_window": part.window,
                    "metadata": {
                        TOKEN: part.token,
                        "oumi_batch": part.batch_id,
                        "sha256": part.sha256,
                    },
                }
            )
        return stored_id(json_of(answer), "batch")

    async def _ready(self, api: BatchApi, file_id: str) -> None:
        """Wait until the server can use a file: some check it first, some do not see it at once."""
        for wait in (*_LOOKS, None):
            try:
                said = json_of(await api.file(file_id))
            except EngineError as error:
                failure = error.failure
                if failure.kind is not FailureKind.NOT_FOUND and failure.status not in _UNSHOWN:
                    raise
                if wait is None or failure.status in _UNSHOWN:
                    return  # perhaps it shows no file to anybody; the batch's answer will tell
            else:
                state = _state(said)
                if state not in _NOT_YET:
                    return
                if wait is None:
                    raise EngineError(
                        Failure(FailureKind.TRANSIENT, f"the server's check of a file is {state}")
                    )
            await asyncio.sleep(wait)
            await next_request()

    async def status(self, handle: str) -> PartStatus:
        """Where a batch stands."""
        async with self._open() as api:
            return part_status(json_of(await api.batch(handle)))

    async def results(
        self, part: PartStatus, constraint: Constraint | None
    ) -> AsyncGenerator[BatchLine, None]:
        """The lines of both files, each file from when it is here whole."""
        files = [name for name in (part.output_file_id, part.error_file_id) if name is not None]
        for file_id in files:
            if file_id is not files[0]:
                await next_request()
            with await asyncio.to_thread(tempfile.TemporaryFile) as file:
                async with self._open() as api:
                    await download(api, file_id, file)
                async for block in line_blocks(file):
                    for line in await asyncio.to_thread(self._read, block, constraint):
                        yield line

    def _read(self, lines: list[bytes], constraint: Constraint | None) -> list[BatchLine]:
        return [self._line(line, constraint) for line in lines if not line.isspace()]

    def _line(self, line: bytes, constraint: Constraint | None) -> BatchLine:
        found = decode_batch_line(line)
        if found.completion is None:
            return found
        return attrs.evolve(found, completion=self._engine.as_asked(found.completion, constraint))

    async def cancel(self, handle: str) -> None:
        """Ask for a batch to be stopped; fine if it has ended, or is being stopped already."""
        async with self._open() as api:
            try:
                json_of(await api.cancel(handle))
            except EngineError as error:
                if error.failure.status not in _ENDED:
                    raise
                await next_request()
                part = part_status(json_of(await api.batch(handle)))
                if not part.is_terminal and part.status is not BatchStatus.CANCELLING:
                    raise

    async def list(self) -> AsyncGenerator[PartStatus, None]:
        """All batches of the account, the newest first, as the server lists them."""
        after: str | None = None
        seen = set()
        while True:
            async with self._open() as api:
                page = part_page(json_of(await api.page(after=after, limit=_PAGE)))
            for part in page.parts:
                yield part
            after = page.following
            if after is None or after in seen:  # a server that knows no `after` would never end
                return
            seen.add(after)
            await next_request()


def _state(said: Any) -> str:
    """The state of a stored file; `error` is left for the batch to tell, which knows why."""
    state = said.get("status") if isinstance(said, dict) else None
    return state.lower() if isinstance(state, str) else ""

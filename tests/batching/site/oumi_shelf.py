"""A provider of batches whose server is a folder, and which can be killed at any step.

    FOLDER/files/ID.jsonl        what was uploaded
    FOLDER/batches/ID.json       what was submitted, and its state, which a test may change
    FOLDER/calls                 a line for each call
    FOLDER/clock                 by how many seconds its clock is ahead, if it is there
    FOLDER/oldest-first          if it is there, `list` begins with the oldest

What becomes of a row is what its user message asks for: `fail`, `expire`, `skip` (no line at all),
`torn` (half a line); all others are answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from oumi_core.batching import (
    BatchBackend,
    BatchError,
    Batching,
    BatchLimits,
    PartStatus,
    RequestCounts,
    as_status,
)
from oumi_core.engine import Capabilities, Engine, EngineConfig, Request
from oumi_core.errors import ConfigError, EngineError
from oumi_core.hookspecs import hookimpl
from oumi_core.types.completion import Completion
from oumi_core.types.conversation import Message, Role
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import OPENAI, decode_batch_line, encode_batch_line, encode_chat

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from oumi_core.batching import BatchJob, Part
    from oumi_core.guided.constraint import Constraint
    from oumi_core.wire import BatchLine

_DIALECT = attrs.evolve(OPENAI, constraint=lambda _: {})

DIE_AT = "SHELF_DIE_AT"
"""The variable that names the step at which the process is killed."""

HOME = "SHELF_HOME"
"""The variable that names the folder of the test, which relative paths start from."""


def _killed_at(step: str) -> None:
    if os.environ.get(DIE_AT) == step:
        os.kill(os.getpid(), signal.SIGKILL)


class Shelf(BatchBackend):
    """Carries parts to a folder."""

    poll_seconds: ClassVar[tuple[float, float]] = (0.01, 0.05)

    def __init__(self, folder: Path, limits: BatchLimits) -> None:
        self.limits = limits
        self._folder = folder
        for name in ("files", "batches"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def _called(self, what: str) -> None:
        with (self._folder / "calls").open("a") as file:
            file.write(f"{what}\n")
        wanted = self._folder / f"fail-{what}"
        if wanted.exists():
            kind = wanted.read_text()
            wanted.unlink()
            raise EngineError(Failure(FailureKind(kind), "on cue"))

    def line(self, custom_id: str, request: Request) -> bytes:
        return encode_batch_line(custom_id, encode_chat(request, _DIALECT))

    async def upload(self, part: Part) -> str | None:
        _killed_at("before upload")
        self._called("upload")
        file_id = f"file-{secrets.token_hex(4)}"
        shutil.copyfile(part.path, self._folder / "files" / f"{file_id}.jsonl")
        return file_id

    async def submit(self, part: Part, uploaded: str | None) -> str:
        _killed_at("after upload")
        self._called("submit")
        handle = f"shelf-{secrets.token_hex(4)}"
        clock = self._folder / "clock"
        ahead = float(clock.read_text()) if clock.exists() else 0.0
        fields = {"token": part.token, "file": uploaded, "created": time.time() + ahead}
        self._write(handle, status="completed", **fields)
        _killed_at("after submit")
        lost = self._folder / "lose-answer"
        if lost.exists():
            lost.unlink()
            raise EngineError(Failure(FailureKind.TRANSIENT, "the connection broke"))
        return handle

    def _write(self, handle: str, **fields: Any) -> None:
        (self._folder / "batches" / f"{handle}.json").write_text(json.dumps(fields))

    def _read(self, handle: str) -> dict[str, Any]:
        try:
            text = (self._folder / "batches" / f"{handle}.json").read_text()
        except FileNotFoundError:
            raise EngineError(Failure(FailureKind.NOT_FOUND, "no such batch")) from None
        fields: dict[str, Any] = json.loads(text)
        return fields

    async def status(self, handle: str) -> PartStatus:
        self._called("status")
        return self._status(handle)

    def _status(self, handle: str) -> PartStatus:
        fields = self._read(handle)
        errors = tuple(BatchError(**error) for error in fields.get("errors", ()))
        counts = fields.get("counts")
        return PartStatus(
            handle,
            as_status(fields["status"]),
            None if counts is None else RequestCounts(*counts),
            errors,
            fields["token"],
            fields["created"],
        )

    async def results(
        self, part: PartStatus, constraint: Constraint | None
    ) -> AsyncGenerator[BatchLine, None]:
        self._called("results")
        fields = self._read(part.handle)
        lines = (self._folder / "files" / f"{fields['file']}.jsonl").read_bytes().splitlines()
        for line in reversed(lines[: fields.get("answered")]):
            answer = _answer(json.loads(line))
            if answer is not None:
                yield decode_batch_line(answer)
        _killed_at("in the download")

    async def cancel(self, handle: str) -> None:
        self._called("cancel")
        self._write(handle, **{**self._read(handle), "status": "cancelled"})

    async def list(self) -> AsyncGenerator[PartStatus, None]:
        self._called("list")
        paths = (self._folder / "batches").glob("*.json")
        listed = sorted(
            (self._status(path.stem) for path in paths),
            key=lambda status: status.created_at or 0.0,
            reverse=not (self._folder / "oldest-first").exists(),
        )
        for status in listed:
            self._called("listed")
            yield status


def _answer(line: dict[str, Any]) -> bytes | None:
    """The line of the output or error file for a request."""
    asked: str = line["body"]["messages"][-1]["content"]
    cue = asked.partition(" ")[0]
    response: Any = None
    error: Any = None
    if cue == "skip":
        return None
    if cue == "torn":
        return b'{"id": "batch_req_1", "custom_id": "'
    if cue == "expire":
        error = {"code": "batch_expired", "message": "the window closed"}
    elif cue == "fail":
        reason = {"message": "too long", "type": "invalid_request_error", "code": None}
        response = {"status_code": 400, "request_id": "r", "body": {"error": reason}}
    else:
        message = {"role": "assistant", "content": f"re: {asked}"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        response = {"status_code": 200, "request_id": "r", "body": {"choices": choices}}
    answer = {"id": "a", "custom_id": line["custom_id"], "response": response, "error": error}
    return json.dumps(answer).encode()


def _server(folder: str) -> Path:
    """The folder of a server, which is never made in whatever folder a program happens to run."""
    server = Path(os.environ.get(HOME, ""), folder)
    if not server.is_absolute():
        raise ConfigError(f"engine_args.folder: {folder} is relative, and {HOME} is not set")
    return server


class ShelfEngine(Engine):
    """Answers online, too; `engine_args.folder` is its server.

    It needs the variable that `engine_args.variable` names. With `SHELF_DIE` it takes its process
    down instead of answering.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(guided={"choice"}, lora=True)

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        arguments = config.engine_args
        variable = arguments.get("variable")
        if variable is not None and variable not in os.environ:
            raise ConfigError(f"{variable} is not set")
        self._folder = _server(arguments["folder"])
        self._shelf = Shelf(
            self._folder,
            BatchLimits(
                *(arguments.get("max_requests"), arguments.get("max_bytes")),
                arguments.get("enqueued_tokens"),
            ),
        )

    async def complete(self, request: Request) -> Completion:
        if "SHELF_DIE" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        asked = request.conversation.messages[-1].text
        if asked.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if asked == "wait":
            (self._folder / "waiting").write_text(f"{os.getpid()}")
            await asyncio.Event().wait()
        if asked.startswith("fail"):
            raise EngineError(Failure(FailureKind.BAD_REQUEST, "on cue"))
        return Completion(Message(Role.ASSISTANT, f"online: {asked}"))

    def batch_backend(self) -> BatchBackend:
        return self._shelf


class ShelfBatching(Batching):
    """The shelf for batches of any engine; its server is the folder that core gives it."""

    @asynccontextmanager
    async def opened(self, job: BatchJob) -> AsyncIterator[BatchBackend]:
        yield Shelf(job.folder, BatchLimits(max_requests=2))
        _killed_at("before the id is given")


@hookimpl
def oumi_engines() -> dict[str, type[Engine]]:
    return {"shelf": ShelfEngine}


@hookimpl
def oumi_batch_backends() -> dict[str, type[Batching]]:
    return {"shelf": ShelfBatching}

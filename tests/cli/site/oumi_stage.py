"""An engine that does on cue what engines do at the worst moment. The cue is the user's message."""

from __future__ import annotations

import asyncio
import itertools
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.errors import EngineError
from oumi_core.hookspecs import hookimpl
from oumi_core.types.completion import Chunk, Completion, FinishReason
from oumi_core.types.conversation import Message, Role
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class StageEngine(Engine):
    """Waits, fails, goes on for ever, or remembers: whatever the user's message asks for."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        guided=frozenset({"choice"}), streaming=True
    )

    async def start(self) -> None:
        """Fail if the model is `dead`, wait if it is a file that is not there yet."""
        model = self.config.model.model_name
        if model == "dead":
            raise EngineError(Failure(FailureKind.ENGINE_DEAD, "no such model"))
        if model.startswith("/"):
            await _until(Path(model))
        warnings.warn("the stage is slippery", stacklevel=1)

    async def complete(self, request: Request) -> Completion:
        """Answer, once the cue was followed."""
        last = request.conversation.last_message(Role.USER)
        cue, _, rest = (last.text if last is not None else "").partition(" ")
        if cue == "fail":
            raise EngineError(Failure(FailureKind(rest), "on cue"))
        if cue == "crash":
            raise RuntimeError(rest)
        if cue == "make":
            _make(Path(rest))
        if cue == "wait":
            await _until(Path(rest))
        if cue == "meet":
            mine, theirs = map(Path, rest.split())
            _make(mine)
            await _until(theirs)
        if cue == "forever":
            await asyncio.Event().wait()
        if cue == "recall":
            turns = (f"{one.role.value}={one.text}" for one in request.conversation.messages)
            return _completion(" ".join(turns))
        if cue == "shout":
            return _completion(f"\x1b[31m{rest}\a")
        return _completion(f"{cue} {rest}".strip(), cut=cue == "cut")

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        """Answer word by word; `forever` does not end, `break` breaks off."""
        last = request.conversation.last_message(Role.USER)
        cue = last.text if last is not None else ""
        for number in itertools.count() if cue == "forever" else ():
            yield Chunk(f"word{number} ")
            await asyncio.sleep(0.02)
        if cue == "break":
            yield Chunk("so far ")
            raise EngineError(Failure(FailureKind.TRANSIENT, "the stream broke off"))
        completion = await self.complete(request)
        for word in completion.text.split(" "):
            yield Chunk(f"{word} ")
        yield completion


def _make(path: Path) -> None:
    path.touch()


async def _until(path: Path) -> None:
    while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process makes the file
        await asyncio.sleep(0.01)


def _completion(text: str, *, cut: bool = False) -> Completion:
    reason = FinishReason.LENGTH if cut else FinishReason.STOP
    return Completion(Message(Role.ASSISTANT, text), reason)


@hookimpl
def oumi_engines() -> dict[str, type[Engine]]:
    """The engine of this module, under the names that are announced."""
    return {"stage": StageEngine, "twin": StageEngine}

"""An engine that says what a script says, for tests of whatever uses engines."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import attrs

from oumi_core.configs import GenerationParams
from oumi_core.engine import Capabilities, Engine
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types import Completion, Failure, FinishReason, Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.engine import EngineConfig, Request

    Line: TypeAlias = "str | Completion | Failure | Exception | Callable[[Request], Line]"

__all__ = ["Script", "ScriptedEngine"]


class Script:
    """What a `ScriptedEngine` says, and what it was asked.

        script = Script("Paris", Failure(FailureKind.RATE_LIMIT, "slow down"), "Rome")
        engine = get_engine(ScriptedEngine, model="m", engine_args={"script": script})

    Args:
        *lines: one for each request, in the order in which they come; the last one is also for
            all that come after it. A text or a `Completion` is the answer. A `Failure` is raised
            as an `EngineError`, an exception as it is. A function is called with the request and
            gives one of these.
        seconds: how long each answer takes.

    Attributes:
        requests: what was asked so far, in order.

    Raises:
        ConfigError: there is no line.
    """

    def __init__(self, *lines: Line, seconds: float = 0.0) -> None:
        if not lines:
            raise ConfigError("a script needs at least one line")
        self.requests: list[Request] = []
        self._lines = lines
        self._seconds = seconds

    async def reply(self, request: Request) -> Completion:
        """What the next line says.

        Raises:
            Exception: the line says so.
        """
        line = self._lines[min(len(self.requests), len(self._lines) - 1)]
        self.requests.append(request)
        await asyncio.sleep(self._seconds)
        while callable(line):
            line = line(request)
        if isinstance(line, Failure):
            raise EngineError(line)
        if isinstance(line, Exception):
            raise line
        if isinstance(line, Completion):
            return line
        return Completion(Message(Role.ASSISTANT, line), FinishReason.STOP)


class ScriptedEngine(Engine):
    """Says what the script in `engine_args` says; declares all, so that everything comes to it."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        guided={"json", "regex", "choice", "grammar"},
        generation={field.name for field in attrs.fields(GenerationParams)},
        streaming=True,
        tools=True,
        images=True,
        lora=True,
        logprobs=True,
    )

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        script = config.engine_args.get("script")
        if not isinstance(script, Script) or len(config.engine_args) > 1:
            raise ConfigError('engine_args: ScriptedEngine takes {"script": Script(...)}')
        self._script = script

    async def complete(self, request: Request) -> Completion:
        """What the next line says."""
        return await self._script.reply(request)

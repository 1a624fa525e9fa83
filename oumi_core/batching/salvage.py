"""The results of a job that ends early: all that its journal has, and a reason for the rest."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

import attrs

from oumi_core.batching.local_job import result_line
from oumi_core.batching.status import RequestCounts
from oumi_core.configs import RemoteParams
from oumi_core.engine import Capabilities, Engine, EngineConfig, Request
from oumi_core.errors import EngineError
from oumi_core.registry import ENGINE, find
from oumi_core.run.plan import make_plan
from oumi_core.run.resume import Output
from oumi_core.run.run import Run
from oumi_core.run.source import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oumi_core.batching.local_job import JobFolder
    from oumi_core.run.plan import Plan
    from oumi_core.types.completion import Completion
    from oumi_core.types.failure import Failure

__all__ = ["salvage"]

_AT_ONCE = 64


class _GivenUp(Engine):
    """Answers nothing, so that what a run gives is what its journal had."""

    capabilities: ClassVar[Capabilities] = Capabilities(images=True)

    def __init__(self, config: EngineConfig, failure: Failure) -> None:
        super().__init__(config)
        self._failure = failure

    async def complete(self, request: Request) -> Completion:  # noqa: ARG002 - whatever it is
        """Fail."""
        raise EngineError(self._failure)


def salvage(job: JobFolder, engine: str, failure: Failure) -> RequestCounts:
    """Write a job's results again, from its journal. Blocks.

    A worker that died may have had answers that it never wrote there, and one that replays them
    may be stopped before it has.

    Args:
        job: the job.
        engine: the name of its engine, which is not started.
        failure: what becomes of rows that have no answer.

    Raises:
        ConfigError, PluginError: the engine is not there any more.
        RunStopped: the disk refuses.
    """
    found = find(ENGINE, engine)
    config = attrs.evolve(job.config(), progress_path=None)
    # Without limits, which are the server's, and without checks, which follow when it is read.
    plan = attrs.evolve(
        make_plan(config, found), remote=RemoteParams(), decoder=None, num_workers=_AT_ONCE
    )

    @asynccontextmanager
    async def given_up(plan: Plan) -> AsyncIterator[Engine]:
        yield _GivenUp(plan.engine_config, failure)

    ids = {index: custom_id for index, (custom_id, _) in enumerate(job.rows())}
    rows = Source(conversation for _, conversation in job.rows())
    run = Run(plan, given_up, rows, Output(job.output_path, found.name))
    with run, job.open_results() as results:
        for result in run:
            results.write(result_line(ids[result.index], result))
    summary = run.summary()
    return RequestCounts(len(ids), summary.succeeded, summary.rows - summary.succeeded)

"""What is left of a batch, answered at once by a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from oumi_core.batching.outcome import outcome_of, write_outcome
from oumi_core.batching.records import PartRecord
from oumi_core.batching.status import BatchStatus, PartStatus
from oumi_core.run.output import failed_path
from oumi_core.run.resume import Output
from oumi_core.run.run import Run
from oumi_core.run.source import Source
from oumi_core.types.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from oumi_core.batching.manifest import Manifest
    from oumi_core.engine import Engine
    from oumi_core.run.plan import Plan
    from oumi_core.types.result import Result

__all__ = ["answer_online"]

_GROUP: Final = 64
"""Results that are recorded at once; the run's journal has them from the moment they are there."""


async def answer_online(
    manifest: Manifest,
    plan: Plan,
    using: Callable[[Plan], AbstractAsyncContextManager[Engine]],
    number: int,
    round_number: int,
) -> None:
    """Run the rows that have no accepted answer, and record what becomes of them.

    Args:
        manifest: the batch.
        plan: the config of its submission, worked out.
        using: makes and starts engines.
        number: the number of the part that the answers count for.
        round_number: its round.

    Raises:
        RunStopped: the run ended early; what it answered is recorded.
        EngineError: the engine cannot be brought up.
    """
    waiting = await asyncio.to_thread(list, _rows(manifest))
    places = [place for place, _ in waiting]
    rows = Source([conversation for _, conversation in waiting])
    path = str(manifest.folder / "online.jsonl")
    run = Run(plan, using, rows, Output(path, manifest.facts.engine))
    recorder = _Recorder(manifest, number, places)
    try:
        await run.execute(recorder.add)
    finally:
        await recorder.flush()
    stopped = run.stopped()
    if stopped is not None:
        raise stopped
    await asyncio.to_thread(_finish, manifest, _part(number, round_number, len(places)), path)


def _rows(manifest: Manifest) -> Iterator[tuple[int, Conversation]]:
    for place, row in manifest.unanswered():
        yield place, Conversation.from_json(row)


class _Recorder:
    """Records the results of a run in the manifest, some at a time."""

    def __init__(self, manifest: Manifest, number: int, places: list[int]) -> None:
        self._manifest = manifest
        self._number = number
        self._places = places
        self._results: list[tuple[int, str, bytes]] = []

    async def add(self, result: Result) -> None:
        record = write_outcome(result.completion, result.error)
        place = self._places[result.index]
        self._results.append((place, outcome_of(result.error).value, record))
        if len(self._results) >= _GROUP:
            await self.flush()

    async def flush(self) -> None:
        results, self._results = self._results, []
        if results:
            await asyncio.to_thread(self._manifest.replace_results, self._number, results)


def _part(number: int, round_number: int, requests: int) -> PartRecord:
    status = PartStatus("", BatchStatus.COMPLETED)
    return PartRecord(number, round_number, "", requests, size=0, status=status, ended=True)


def _finish(manifest: Manifest, part: PartRecord, path: str) -> None:
    manifest.add_round([part], [])
    for leftover in (path, f"{path}.oumi.db", failed_path(path)):
        Path(leftover).unlink(missing_ok=True)

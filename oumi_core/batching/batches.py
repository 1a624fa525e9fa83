"""The batches of one engine: submitted, watched, fetched, stopped and sent again.

Everything is in the manifest, so that each call works on the id alone, in any process. All
coroutines run on the private loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from typing import TYPE_CHECKING, Final

import attrs

from oumi_core.batching.asking import as_given, as_they_came, of_one_model
from oumi_core.batching.backend import BatchBackend, BatchJob
from oumi_core.batching.building import Builder
from oumi_core.batching.checks import check_elsewhere, check_given, say_what_is_not_held
from oumi_core.batching.export import export
from oumi_core.batching.fetching import info_of
from oumi_core.batching.manifest import Manifest
from oumi_core.batching.online import answer_online
from oumi_core.batching.open_batch import OpenBatch
from oumi_core.batching.outcome import Outcome
from oumi_core.batching.patience import Patience
from oumi_core.batching.quota import quota_of
from oumi_core.batching.records import Facts
from oumi_core.batching.results import BatchResult, read_results
from oumi_core.batching.sending import find_sent, send_parts
from oumi_core.batching.status import BatchListResponse
from oumi_core.batching.store import BatchStore
from oumi_core.batching.stored_config import read_config, storable, write_config
from oumi_core.batching.submission import rebuild, write_batch
from oumi_core.batching.threads import in_thread, to_its_end
from oumi_core.data.openai_batch import OpenAIBatchFile
from oumi_core.engine import Engine
from oumi_core.errors import BatchUnfinished, ConfigError
from oumi_core.plugin_names import normalise
from oumi_core.registry import BATCH_BACKEND, find
from oumi_core.run.plan import make_plan
from oumi_core.run.row import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from oumi_core.batching.backend import Batching
    from oumi_core.batching.export import Form
    from oumi_core.batching.status import BatchInfo
    from oumi_core.configs import InferenceConfig
    from oumi_core.plugin_info import Found
    from oumi_core.run.plan import Plan
    from oumi_core.run.source import Source
    from oumi_core.types.conversation import Conversation

    Using = Callable[[Plan], AbstractAsyncContextManager[Engine]]
    Watch = Callable[[BatchInfo], object]

__all__ = ["Batches"]

_AUTO: Final = "auto"
_LOCAL: Final = "local"
_PROVIDER: Final = "provider"
_SLOWER: Final = 1.5
"""Each look at a batch that is waited for comes so much later than the one before."""


class Batches:
    """The batches of an engine.

    Args:
        found: the engine.
        using: makes and starts engines.
        store: where batches are kept.
    """

    def __init__(self, found: Found, using: Using, store: BatchStore | None = None) -> None:
        self._found = found
        self._using = using
        self.store = BatchStore() if store is None else store

    # Submitting.

    async def submit(
        self, config: InferenceConfig, source: Source, on_id: Callable[[str], object] | None = None
    ) -> str:
        """Send rows as a batch; its id.

        If a process died before it gave an id away, that batch goes on when the same is submitted
        again. Once the id is given away, the same is another batch.

        Args:
            config: the effective config.
            source: the rows.
            on_id: takes the id, in a thread, when all is sent; it is given away when that returns.

        Raises:
            ConfigError, DataError: nothing was sent.
            EngineError, RunStopped: it was not sent to its end; the same call goes on with it.
        """
        plan = make_plan(config, self._found)
        name = self._batching_of(config, plan)
        batching = _batching_named(name)
        if batching.elsewhere:
            check_elsewhere(self._found, config, name)
        else:
            say_what_is_not_held(config, name)
        kept = storable(config, plan.constraint)
        rows, _ = await source.open()
        async with in_thread(self.store.building()) as folder:
            job = self._job(self.store.batch_id(folder), name, kept, plan)
            async with batching.opened(job) as backend:
                patience = self._patience(plan, batching)
                if isinstance(rows, OpenAIBatchFile):
                    sends = backend.as_given
                    await asyncio.to_thread(
                        check_given, rows, self._found, config, plan, as_given=sends
                    )
                facts = _facts(job, name, plan)
                builder = self._builder(job.batch_id, plan, batching, backend, folder)
                facts = await to_its_end(
                    lambda given_up: write_batch(folder, facts, builder, rows, given_up)
                )
                batch = await asyncio.to_thread(self.store.unsent_twin, folder, facts)
                quota = quota_of(plan, batching, backend)
                if batch is not None:
                    async with self._alone(batch):
                        whole = await self._send(batch, backend, patience, quota)
                else:
                    batch = await asyncio.to_thread(self.store.publish, folder)
                    whole = await self._send(batch, backend, patience, quota)
            # Last of all, when nothing is left that may fail or take its time: who dies before may
            # not have learned the id, and learns it by the same call.
            if on_id is not None:
                await asyncio.to_thread(on_id, batch.name)
            await asyncio.to_thread(self.store.sent, batch, whole=whole)
            return batch.name

    def _batching_of(self, config: InferenceConfig, plan: Plan) -> str:
        chosen = normalise(config.batching or _AUTO)
        if chosen != _AUTO:
            return chosen
        if self._found.cls.batch_backend is Engine.batch_backend:
            return _LOCAL
        engine: Engine = self._found.cls(plan.engine_config)  # loads nothing
        return _LOCAL if engine.batch_backend() is None else _PROVIDER

    def _job(self, batch_id: str, name: str, kept: InferenceConfig, plan: Plan) -> BatchJob:
        folder = self.store.state / name.replace(":", "+")
        return BatchJob(batch_id, _engine_name(self._found), kept, plan, folder, self._using)

    def _builder(
        self,
        batch_id: str,
        plan: Plan,
        batching: Batching,
        backend: BatchBackend,
        folder: Path,
        *,
        first: int = 1,
        round_number: int = 1,
    ) -> Builder:
        if batching.elsewhere:
            ask = as_they_came(plan)
        else:
            ask = of_one_model(self._judge(plan), lora=self._found.cls.capabilities.lora)
            ask = as_given(plan, ask) if backend.as_given else ask
        return Builder(
            batch_id,
            ask,
            backend.line,
            attrs.evolve(backend.limits, enqueued_tokens=quota_of(plan, batching, backend)),
            folder,
            first_number=first,
            round_number=round_number,
        )

    def _judge(self, plan: Plan) -> Row:
        # Only what the class says of its capabilities is looked at: nothing is asked of an engine.
        return Row(self._found.cls, plan)  # type: ignore[arg-type]

    def _patience(self, plan: Plan, batching: Batching) -> Patience:
        asks_no_server = batching.elsewhere
        return Patience(
            plan, None if asks_no_server else lambda: self._found.cls(plan.engine_config)
        )

    async def _send(
        self, folder: Path, backend: BatchBackend, patience: Patience, quota: int | None
    ) -> bool:
        manifest = await asyncio.to_thread(Manifest, folder)
        try:
            return await send_parts(manifest, backend, patience, quota)
        finally:
            await asyncio.to_thread(manifest.close)

    # Those that were submitted.

    def page(self, after: str | None, limit: int | None) -> BatchListResponse:
        """Some of the engine's batches, the newest first, as they were last seen. Blocks."""
        found: list[BatchInfo] = []
        for info in self.store.infos(after, _engine_name(self._found)):
            if len(found) == limit:
                return _page(found, has_more=True)
            found.append(info)
        return _page(found, has_more=False)

    @contextlib.asynccontextmanager
    async def opened(
        self,
        batch_id: str,
        config: InferenceConfig,
        *,
        to_read: bool = False,
        to_forget: bool = False,
    ) -> AsyncIterator[OpenBatch]:
        """A batch to work on.

        Args:
            batch_id: its id.
            config: how the server is reached now, and arguments for the engine; all else is as it
                was submitted.
            to_read: True for calls that need nobody, nor a key, once all its results are here.
            to_forget: True for one that then needs only what is kept on this machine.

        Raises:
            ConfigError: there is no such batch, or it is another engine's.
        """
        manifest = await asyncio.to_thread(self.store.open, batch_id)
        try:
            facts = manifest.facts
            if facts.engine != _engine_name(self._found):
                raise ConfigError(
                    f"batch {batch_id} was submitted to engine '{facts.engine}', and this is "
                    f"'{self._found.name}'"
                )
            submitted = read_config(facts.config)
            now = attrs.evolve(
                submitted,
                remote_params=config.remote_params or submitted.remote_params,
                engine_args={**submitted.engine_args, **config.engine_args},
            )
            plan = make_plan(now, self._found, anew=False)
            job = self._job(batch_id, facts.batching, submitted, plan)
            batching = _batching_named(facts.batching)
            may_be_alone = to_read or (to_forget and not batching.keeps)
            is_here = may_be_alone and await asyncio.to_thread(self._is_here, manifest)
            opening = contextlib.nullcontext() if is_here else batching.opened(job)
            async with opening as carrier:
                patience = self._patience(plan, batching)
                yield OpenBatch(manifest, plan, batching, self._judge(plan), carrier, patience)
        finally:
            await asyncio.to_thread(manifest.close)

    def _is_here(self, manifest: Manifest) -> bool:
        sent = not self.store.is_unsent(manifest.folder)
        return sent and all(part.ended for part in manifest.parts())

    async def look(self, batch: OpenBatch, *, send: bool = False) -> BatchInfo:
        """How far a batch is; with `send`, what a process that died left unsent is sent first.

        Parts that wait for room at the provider are sent as far as there is room now.

        Raises:
            EngineError, RunStopped: the backend cannot be asked.
        """
        folder = batch.manifest.folder
        if batch.carrier is None:
            return await asyncio.to_thread(info_of, batch.manifest)
        if await asyncio.to_thread(self.store.is_unsent, folder):
            async with in_thread(self.store.locked(folder)) as free:
                if free and send:
                    await self._send_on(batch)
                elif free:
                    await find_sent(batch.manifest, batch.backend, batch.patience)
        await batch.fetching.look()
        if await asyncio.to_thread(self.store.waits, folder):
            async with in_thread(self.store.locked(folder)) as free:
                if free:
                    await self._send_on(batch)
        return await asyncio.to_thread(info_of, batch.manifest)

    async def _send_on(self, batch: OpenBatch) -> None:
        manifest = batch.manifest
        whole = await send_parts(manifest, batch.backend, batch.patience, batch.quota)
        await asyncio.to_thread(self.store.sent, manifest.folder, whole=whole)

    async def wait(self, batch: OpenBatch, seconds: float | None, watch: Watch | None) -> BatchInfo:
        """Look at a batch until it is at its end, and fetch its results then.

        Args:
            batch: the batch.
            seconds: the most to wait; None for any time.
            watch: called with each state.

        Raises:
            BatchUnfinished: it was not at its end in time.
            EngineError, RunStopped: the backend cannot be asked.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._watched(batch, watch)
        except TimeoutError:
            raise BatchUnfinished(await asyncio.to_thread(info_of, batch.manifest)) from None
        return await self._fetched(batch, partial=False)

    async def _fetched(self, batch: OpenBatch, *, partial: bool) -> BatchInfo:
        if batch.carrier is not None:
            await batch.fetching.fetch(partial=partial)
        return await asyncio.to_thread(info_of, batch.manifest)

    async def _watched(self, batch: OpenBatch, watch: Watch | None) -> None:
        pause, longest = (batch.carrier or BatchBackend).poll_seconds
        while True:
            info = await self.look(batch, send=True)
            if watch is not None:
                watch(info)
            if info.is_terminal:
                return
            await asyncio.sleep(pause * random.uniform(0.8, 1.0))  # noqa: S311 - spreads load
            pause = min(longest, pause * _SLOWER)

    async def fetch(self, batch: OpenBatch, *, partial: bool) -> BatchInfo:
        """See how far a batch is, and fetch what has ended; with `partial`, all there is.

        Raises:
            EngineError, RunStopped: the backend cannot be asked.
        """
        await self.look(batch)
        return await self._fetched(batch, partial=partial)

    async def results(
        self, batch: OpenBatch, conversations: Sequence[Conversation] | None
    ) -> BatchResult:
        """What was fetched, in the order of the conversations, or of the submission.

        Raises:
            DataError: a conversation is none of the batch's.
        """

        def collect() -> BatchResult:
            rows = list(read_results(batch.manifest, batch.judge, conversations))
            return BatchResult(
                tuple(row for row in rows if not isinstance(row, int)),
                tuple(row for row in rows if isinstance(row, int)),
            )

        return await asyncio.to_thread(collect)

    async def export(self, batch: OpenBatch, output_path: str, form: Form) -> None:
        """Write what was fetched to a file, and failed rows beside it.

        Raises:
            ConfigError: a file cannot be there.
            RunStopped: the disk refuses.
        """
        await asyncio.to_thread(export, batch.manifest, batch.judge, output_path, form)

    async def cancel(self, batch: OpenBatch) -> BatchInfo:
        """Ask for all parts to be stopped, those too that a process that died had sent.

        Raises:
            EngineError, RunStopped: the backend cannot be asked.
        """
        manifest = batch.manifest
        async with self._alone(manifest.folder):
            await find_sent(manifest, batch.backend, batch.patience)
            for part in await asyncio.to_thread(manifest.parts):
                if part.is_terminal:
                    continue
                if part.handle is None:
                    await asyncio.to_thread(manifest.never_sent, part.number)
                else:
                    await batch.patience.call(functools.partial(batch.backend.cancel, part.handle))
            await asyncio.to_thread(self.store.sent, manifest.folder)
        return await self.look(batch)

    async def resubmit(self, batch: OpenBatch, *, online: bool) -> BatchInfo:
        """Send the rows of a batch at its end that have no accepted answer once more.

        Raises:
            ConfigError: it is not at its end.
            EngineError, RunStopped: they cannot be sent.
        """
        await self.look(batch, send=True)
        manifest = batch.manifest
        async with self._alone(manifest.folder):
            info = await asyncio.to_thread(info_of, manifest)
            if not info.is_terminal:
                raise ConfigError(
                    f"batch {info.id} is not at its end ({info.status}); wait for it, or cancel it"
                )
            await batch.fetching.fetch(partial=False)
            if manifest.outcomes().get(Outcome.OK) == info.total_requests:
                return info
            parts = await asyncio.to_thread(manifest.parts)
            number = max((part.number for part in parts), default=0) + 1
            round_number = max((part.round for part in parts), default=0) + 1
            if online:
                await answer_online(manifest, batch.plan, self._using, number, round_number)
            else:
                await self._send_rest(batch, number, round_number)
        return await self.look(batch)

    async def _send_rest(self, batch: OpenBatch, number: int, round_number: int) -> None:
        manifest = batch.manifest
        builder = self._builder(
            *(manifest.facts.batch_id, batch.plan, batch.batching, batch.backend),
            manifest.folder,
            first=number,
            round_number=round_number,
        )
        await asyncio.to_thread(self.store.unsend, manifest.folder)
        await asyncio.to_thread(rebuild, manifest, builder)
        await self._send_on(batch)

    @contextlib.asynccontextmanager
    async def _alone(self, folder: Path) -> AsyncIterator[None]:
        """Be the only process that sends a batch.

        Raises:
            ConfigError: another one does.
        """
        async with in_thread(self.store.locked(folder)) as free:
            if not free:
                raise ConfigError(f"another process is sending batch {folder.name}; wait for it")
            yield

    async def forget(self, batch: OpenBatch) -> None:
        """Remove a batch that is at its end from this machine, results and all.

        Raises:
            ConfigError: it is not at its end.
        """
        await self.look(batch)
        async with self._alone(batch.manifest.folder):
            info = await asyncio.to_thread(info_of, batch.manifest)
            if not info.is_terminal:
                raise ConfigError(
                    f"batch {info.id} is not at its end ({info.status}); cancel it first"
                )
            for handle in info.part_handles if batch.carrier is not None else ():
                await batch.patience.call(functools.partial(batch.backend.forget, handle))
            await asyncio.to_thread(self.store.forget, info.id)


def _facts(job: BatchJob, batching: str, plan: Plan) -> Facts:
    return Facts(
        batch_id=job.batch_id,
        engine=job.engine,
        batching=batching,
        model=plan.model.model_name,
        config=write_config(job.config),
        window=plan.remote.batch_completion_window,
        created_at=time.time(),
        rows=0,  # known when all are written
    )


def _page(batches: Sequence[BatchInfo], *, has_more: bool) -> BatchListResponse:
    if not batches:
        return BatchListResponse(())
    return BatchListResponse(tuple(batches), batches[0].id, batches[-1].id, has_more)


def _batching_named(name: str) -> Batching:
    batching: Batching = find(BATCH_BACKEND, name).cls()
    return batching


def _engine_name(found: Found) -> str:
    """The name by which another process finds the same engine, and no other of that name."""
    return f"{found.distribution}:{found.name}" if found.distribution else found.name

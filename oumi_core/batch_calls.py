"""The calls of `InferenceEngine` that are about batches, each with an awaitable twin."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from oumi_core.errors import BatchUnfinished, ConfigError, InferenceFailed
from oumi_core.loop import run_async, run_blocking
from oumi_core.run.source import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from oumi_core.batching.batches import Batches
    from oumi_core.batching.export import Form
    from oumi_core.batching.open_batch import OpenBatch
    from oumi_core.batching.results import BatchResult
    from oumi_core.batching.status import BatchInfo, BatchListResponse
    from oumi_core.configs import InferenceConfig
    from oumi_core.engine import Engine
    from oumi_core.plugin_info import Found
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation

    Given = Iterable[Conversation] | str | os.PathLike[str] | None
    Via = Literal["batch", "online"]

__all__ = ["BatchCalls"]

T = TypeVar("T")


class BatchCalls(ABC):
    """Batches of an engine. They are kept on disk: any process can use any of them by its id.

    In every call a config says how the server is reached now; what is asked, and how, is as it was
    when the batch was submitted.
    """

    _found: Found

    @abstractmethod
    def _using(self, plan: Plan) -> AbstractAsyncContextManager[Engine]: ...

    @abstractmethod
    def _effective(self, config: InferenceConfig | None) -> InferenceConfig: ...

    @property
    def _batches(self) -> Batches:
        from oumi_core.batching.batches import Batches  # noqa: PLC0415 - import on use: few need it

        return Batches(self._found, self._using)

    @asynccontextmanager
    async def _opened(
        self, batch_id: str, config: InferenceConfig | None, **what_for: bool
    ) -> AsyncIterator[tuple[Batches, OpenBatch]]:
        batches = self._batches
        effective = self._effective(config)
        async with batches.opened(batch_id, effective, **what_for) as batch:
            yield batches, batch

    # Submitting.

    def infer_batch(
        self,
        conversations: Given = None,
        inference_config: InferenceConfig | None = None,
        *,
        on_id: Callable[[str], object] | None = None,
    ) -> str:
        """Send conversations as a batch, and do not wait for the answers.

        They are read one by one, so that memory does not grow with them, and split into as few
        parts as the provider's limits allow. What is sent is on disk before anything is sent: if
        this process dies before it has the id, the same call goes on with the same batch, whatever
        was sent of it. Once a call has given an id, the same call makes another batch: who must not
        lose the id whenever the process dies writes it down in `on_id`.

        Args:
            conversations: the rows, or the path of a JSONL file of them; None for the config's
                `input_path`.
            inference_config: laid over the engine's own config. `batching` says where the batch
                goes: `provider`, `local`, a plugin's name, or `auto` (the provider's batch API if
                there is one, else `local`), which is the default.
            on_id: called in a thread with the id, when all is sent. Until it returns, the same call
                in a later process gives the same id; what it raises, this call raises.

        Returns:
            The batch's id.

        Raises:
            ConfigError, DataError, PluginError: nothing was sent.
            EngineError, RunStopped: the batch was not sent to its end; the same call goes on.
        """
        return run_blocking(self._infer_batch(conversations, inference_config, on_id))

    async def ainfer_batch(
        self,
        conversations: Given = None,
        inference_config: InferenceConfig | None = None,
        *,
        on_id: Callable[[str], object] | None = None,
    ) -> str:
        """The awaitable twin of `infer_batch`."""
        return await run_async(self._infer_batch(conversations, inference_config, on_id))

    async def _infer_batch(
        self, given: Given, config: InferenceConfig | None, on_id: Callable[[str], object] | None
    ) -> str:
        effective = self._effective(config)
        source = Source.of(effective.input_path if given is None else given)
        return await self._batches.submit(effective, source, on_id)

    # Watching.

    def get_batch_status(
        self, batch_id: str, inference_config: InferenceConfig | None = None
    ) -> BatchInfo:
        """How far a batch is.

        Raises:
            ConfigError: there is no such batch, or it is another engine's.
            EngineError, RunStopped: the provider cannot be asked.
        """
        return run_blocking(self._get_batch_status(batch_id, inference_config))

    async def aget_batch_status(
        self, batch_id: str, inference_config: InferenceConfig | None = None
    ) -> BatchInfo:
        """The awaitable twin of `get_batch_status`."""
        return await run_async(self._get_batch_status(batch_id, inference_config))

    async def _get_batch_status(self, batch_id: str, config: InferenceConfig | None) -> BatchInfo:
        async with self._opened(batch_id, config, to_read=True) as (batches, batch):
            return await batches.look(batch)

    def wait_batch(
        self,
        batch_id: str,
        inference_config: InferenceConfig | None = None,
        *,
        timeout: float | None = None,
        on_progress: Callable[[BatchInfo], object] | None = None,
    ) -> BatchInfo:
        """Wait until a batch is at its end, and fetch its results to this machine.

        Asks often at first, then once a minute. What a process that died left unsent is sent.

        Args:
            batch_id: the batch.
            inference_config: how the server is reached now.
            timeout: the most seconds to wait; None for any time.
            on_progress: called with each new state, on the private loop: it must not block.

        Raises:
            BatchUnfinished: it was not at its end in time.
            ConfigError, EngineError, RunStopped: as `get_batch_status`.
        """
        return run_blocking(self._wait_batch(batch_id, inference_config, timeout, on_progress))

    async def await_batch(
        self,
        batch_id: str,
        inference_config: InferenceConfig | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - as its blocking twin has it
        on_progress: Callable[[BatchInfo], object] | None = None,
    ) -> BatchInfo:
        """The awaitable twin of `wait_batch`."""
        waiting = self._wait_batch(batch_id, inference_config, timeout, on_progress)
        return await run_async(waiting)

    async def _wait_batch(
        self,
        batch_id: str,
        config: InferenceConfig | None,
        timeout: float | None,  # noqa: ASYNC109 - it is the whole wait's
        on_progress: Callable[[BatchInfo], object] | None,
    ) -> BatchInfo:
        async with self._opened(batch_id, config, to_read=True) as (batches, batch):
            return await batches.wait(batch, timeout, on_progress)

    def list_batches(self, after: str | None = None, limit: int | None = None) -> BatchListResponse:
        """This engine's batches on this machine, the newest first, each as it was last seen.

        Args:
            after: the `last_id` of the page before; None for the first page.
            limit: the most batches of a page; None for all.
        """
        return run_blocking(self._list_batches(after, limit))

    async def alist_batches(
        self, after: str | None = None, limit: int | None = None
    ) -> BatchListResponse:
        """The awaitable twin of `list_batches`."""
        return await run_async(self._list_batches(after, limit))

    async def _list_batches(self, after: str | None, limit: int | None) -> BatchListResponse:
        return await asyncio.to_thread(self._batches.page, after, limit)

    # Results.

    def get_batch_results(
        self,
        batch_id: str,
        conversations: Sequence[Conversation] | None = None,
        inference_config: InferenceConfig | None = None,
        *,
        partial: bool = False,
    ) -> list[Conversation]:
        """The answers of a batch, each joined to its own row by what was asked.

        Args:
            batch_id: the batch.
            conversations: those that were submitted, in the order in which they are wanted; None
                for those of the submission, in its order.
            inference_config: how the server is reached now.
            partial: give what is answered, also of a batch that is not at its end, and leave the
                other rows out; nothing is raised for them.

        Returns:
            The conversations, each with its reply appended.

        Raises:
            BatchUnfinished: it is not at its end.
            InferenceFailed: some rows have no accepted answer; `.results` holds all rows.
            DataError: a conversation is none of the batch's.
            ConfigError, EngineError, RunStopped: as `get_batch_status`.
        """
        return run_blocking(
            self._get_batch_results(batch_id, conversations, inference_config, partial=partial)
        )

    async def aget_batch_results(
        self,
        batch_id: str,
        conversations: Sequence[Conversation] | None = None,
        inference_config: InferenceConfig | None = None,
        *,
        partial: bool = False,
    ) -> list[Conversation]:
        """The awaitable twin of `get_batch_results`."""
        return await run_async(
            self._get_batch_results(batch_id, conversations, inference_config, partial=partial)
        )

    async def _get_batch_results(
        self,
        batch_id: str,
        conversations: Sequence[Conversation] | None,
        config: InferenceConfig | None,
        *,
        partial: bool,
    ) -> list[Conversation]:
        found = await self._results(batch_id, conversations, config, partial=partial)
        if found.has_failures and not partial:
            raise InferenceFailed(found.results)
        return [conversation for _, conversation in found.successful]

    def get_batch_results_partial(
        self,
        batch_id: str,
        conversations: Sequence[Conversation] | None = None,
        inference_config: InferenceConfig | None = None,
    ) -> BatchResult:
        """All that there is of a batch's results, good and bad; raises for no row.

        Arguments and errors are those of `get_batch_results`.
        """
        return run_blocking(self._results(batch_id, conversations, inference_config, partial=True))

    async def aget_batch_results_partial(
        self,
        batch_id: str,
        conversations: Sequence[Conversation] | None = None,
        inference_config: InferenceConfig | None = None,
    ) -> BatchResult:
        """The awaitable twin of `get_batch_results_partial`."""
        return await run_async(
            self._results(batch_id, conversations, inference_config, partial=True)
        )

    async def _results(
        self,
        batch_id: str,
        conversations: Sequence[Conversation] | None,
        config: InferenceConfig | None,
        *,
        partial: bool,
    ) -> BatchResult:
        async with self._opened(batch_id, config, to_read=True) as (batches, batch):
            info = await batches.fetch(batch, partial=partial)
            if not (partial or info.is_terminal):
                raise BatchUnfinished(info)
            return await batches.results(batch, conversations)

    def write_batch_results(
        self,
        batch_id: str,
        output_path: str | os.PathLike[str],
        inference_config: InferenceConfig | None = None,
        *,
        partial: bool = False,
        form: Form = "conversations",
    ) -> BatchInfo:
        """Write a batch's answers to a file in the order of the submission, failed rows beside it.

        Memory does not grow with the batch. Each file is whole, or not there at all.

        Args:
            batch_id: the batch.
            output_path: the JSONL file for the answers; failed rows go to
                `<output_path>.failed.jsonl`.
            inference_config: how the server is reached now.
            partial: write what there is, also of a batch that is not at its end.
            form: `conversations`, as a run writes them; or `openai-batch`, the lines of OpenAI's
                output and error files, with each row's `conversation_id` as its `custom_id`.

        Raises:
            BatchUnfinished: it is not at its end.
            ConfigError, EngineError, RunStopped: as `get_batch_status`; or the disk refuses.
        """
        return run_blocking(
            self._write_results(batch_id, output_path, inference_config, form, partial=partial)
        )

    async def awrite_batch_results(
        self,
        batch_id: str,
        output_path: str | os.PathLike[str],
        inference_config: InferenceConfig | None = None,
        *,
        partial: bool = False,
        form: Form = "conversations",
    ) -> BatchInfo:
        """The awaitable twin of `write_batch_results`."""
        return await run_async(
            self._write_results(batch_id, output_path, inference_config, form, partial=partial)
        )

    async def _write_results(
        self,
        batch_id: str,
        output_path: str | os.PathLike[str],
        config: InferenceConfig | None,
        form: Form,
        *,
        partial: bool,
    ) -> BatchInfo:
        async with self._opened(batch_id, config, to_read=True) as (batches, batch):
            info = await batches.fetch(batch, partial=partial)
            if not (partial or info.is_terminal):
                raise BatchUnfinished(info)
            await batches.export(batch, os.fspath(output_path), form)
            return info

    # Stopping it, sending it again, forgetting it.

    def cancel_batch(
        self, batch_id: str, inference_config: InferenceConfig | None = None
    ) -> BatchInfo:
        """Ask for a batch to be stopped. What it has finished can be had; it may take minutes.

        Raises:
            ConfigError, EngineError, RunStopped: as `get_batch_status`.
        """
        return run_blocking(self._with_batch(batch_id, inference_config, _cancel))

    async def acancel_batch(
        self, batch_id: str, inference_config: InferenceConfig | None = None
    ) -> BatchInfo:
        """The awaitable twin of `cancel_batch`."""
        return await run_async(self._with_batch(batch_id, inference_config, _cancel))

    def resubmit_batch(
        self,
        batch_id: str,
        inference_config: InferenceConfig | None = None,
        *,
        via: Via = "batch",
    ) -> BatchInfo:
        """Send those rows of a batch once more that have no accepted answer, and no other.

        The batch keeps its id; the new answers take the place of what these rows had.

        Args:
            batch_id: a batch at its end.
            inference_config: how the server is reached now.
            via: `batch` to send them as a batch again; `online` to answer them at once, and wait
                for that.

        Raises:
            ConfigError: the batch is not at its end, or as `get_batch_status`.
            EngineError, RunStopped: not all could be sent; the same call goes on.
        """
        return run_blocking(self._resubmit(batch_id, inference_config, via))

    async def aresubmit_batch(
        self,
        batch_id: str,
        inference_config: InferenceConfig | None = None,
        *,
        via: Via = "batch",
    ) -> BatchInfo:
        """The awaitable twin of `resubmit_batch`."""
        return await run_async(self._resubmit(batch_id, inference_config, via))

    async def _resubmit(self, batch_id: str, config: InferenceConfig | None, via: Via) -> BatchInfo:
        if via not in ("batch", "online"):
            raise ConfigError(f"via: {via!r} is neither 'batch' nor 'online'")
        async with self._opened(batch_id, config) as (batches, batch):
            return await batches.resubmit(batch, online=via == "online")

    def forget_batch(self, batch_id: str, inference_config: InferenceConfig | None = None) -> None:
        """Remove a batch that is at its end from this machine, its results too.

        What a provider keeps of it stays there. No key is needed once all its results are here.

        Raises:
            ConfigError: it is not at its end, or as `get_batch_status`.
        """
        run_blocking(self._forget(batch_id, inference_config))

    async def aforget_batch(
        self, batch_id: str, inference_config: InferenceConfig | None = None
    ) -> None:
        """The awaitable twin of `forget_batch`."""
        await run_async(self._forget(batch_id, inference_config))

    async def _forget(self, batch_id: str, config: InferenceConfig | None) -> None:
        async with self._opened(batch_id, config, to_forget=True) as (batches, batch):
            await batches.forget(batch)

    async def _with_batch(
        self,
        batch_id: str,
        config: InferenceConfig | None,
        what: Callable[[Batches, OpenBatch], Coroutine[Any, Any, T]],
    ) -> T:
        async with self._opened(batch_id, config) as (batches, batch):
            return await what(batches, batch)


async def _cancel(batches: Batches, batch: OpenBatch) -> BatchInfo:
    return await batches.cancel(batch)

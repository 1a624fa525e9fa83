"""`provider`: batches go to the batch API of the engine's own provider."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

from oumi_core.batching.backend import Batching
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from oumi_core.batching.backend import BatchBackend, BatchJob

__all__ = ["ProviderBatching"]


class ProviderBatching(Batching):
    """Hands out the backend that the engine declares."""

    keeps: ClassVar[bool] = False

    @asynccontextmanager
    async def opened(self, job: BatchJob) -> AsyncIterator[BatchBackend]:
        """The engine's own backend.

        Raises:
            ConfigError: the engine has none.
        """
        async with job.using(job.plan) as engine:
            backend = engine.batch_backend()
            if backend is None:
                raise ConfigError(
                    f"batching: engine '{job.engine}' has no batch API; choose `local`, or `auto`"
                )
            yield backend

"""What a batch needs of a server: its files and its batches, one request a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import BinaryIO

    from oumi_http.answers import Answer
    from oumi_http.transport import StreamedAnswer

__all__ = ["BatchApi", "OpenBatchApi"]


class BatchApi(Protocol):
    """The files and batches of one server, in OpenAI's form.

    Each call sends one request, once: retries are those of `oumi_http.patience`. A call gives the
    answer whatever its status, or raises `EngineError` if there is none, or none that is good.
    """

    async def upload(self, file: BinaryIO, name: str) -> Answer:
        """Store a file of requests; its content is read piece by piece while it is sent."""

    async def file(self, file_id: str) -> Answer:
        """What the server knows of a file."""

    def content(self, file_id: str) -> AbstractAsyncContextManager[StreamedAnswer]:
        """The content of a file, as it comes."""

    async def create(self, fields: Mapping[str, Any]) -> Answer:
        """Start a batch."""

    async def batch(self, batch_id: str) -> Answer:
        """What the server knows of a batch."""

    async def cancel(self, batch_id: str) -> Answer:
        """Ask for a batch to end early."""

    async def page(self, *, after: str | None, limit: int) -> Answer:
        """Some of the account's batches: those that follow the one with the id `after`."""


OpenBatchApi = Callable[[], "AbstractAsyncContextManager[BatchApi]"]
"""Opens the connections for a block of calls, and closes them behind it."""

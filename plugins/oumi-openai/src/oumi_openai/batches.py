"""OpenAI's and Azure's files and batches, through the official SDK."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
from oumi_http.answers import Answer
from oumi_http.transport import StreamedAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from typing import BinaryIO

    from openai import AsyncOpenAI
    from openai._legacy_response import LegacyAPIResponse

    from oumi_openai.administration import Administration

__all__ = ["SdkBatchApi", "open_batches"]


@asynccontextmanager
async def open_batches(administration: Administration) -> AsyncIterator[SdkBatchApi]:
    """A client of the SDK for a block of calls."""
    async with administration.client() as client:
        yield SdkBatchApi(client, administration)


@attrs.frozen
class SdkBatchApi:
    """A `oumi_http.batch_api.BatchApi` by the SDK.

    Answers are taken raw: the SDK's models know neither the states nor the empty fields that
    servers add.
    """

    _client: AsyncOpenAI
    _administration: Administration

    async def upload(self, file: BinaryIO, name: str) -> Answer:
        """See `BatchApi`."""
        stored = self._client.files.with_raw_response.create(
            file=(name, file, "application/jsonl"), purpose="batch"
        )
        return await self._answer(stored)

    async def file(self, file_id: str) -> Answer:
        """See `BatchApi`."""
        return await self._answer(self._client.files.with_raw_response.retrieve(file_id))

    @asynccontextmanager
    async def content(self, file_id: str) -> AsyncIterator[StreamedAnswer]:
        """See `BatchApi`."""
        with self._administration.translated():
            async with self._client.files.with_streaming_response.content(file_id) as response:
                # The SDK has raised for any other status than a good one.
                server = self._administration.endpoints.server
                head = Answer(response.status_code, response.headers, b"", server)
                yield StreamedAnswer(head, response.iter_bytes())

    async def create(self, fields: Mapping[str, Any]) -> Answer:
        """See `BatchApi`."""
        return await self._answer(self._client.batches.with_raw_response.create(**fields))

    async def batch(self, batch_id: str) -> Answer:
        """See `BatchApi`."""
        return await self._answer(self._client.batches.with_raw_response.retrieve(batch_id))

    async def cancel(self, batch_id: str) -> Answer:
        """See `BatchApi`."""
        return await self._answer(self._client.batches.with_raw_response.cancel(batch_id))

    async def page(self, *, after: str | None, limit: int) -> Answer:
        """See `BatchApi`."""
        batches = self._client.batches.with_raw_response
        if after is None:
            return await self._answer(batches.list(limit=limit))
        return await self._answer(batches.list(limit=limit, after=after))

    async def _answer(self, sent: Awaitable[LegacyAPIResponse[Any]]) -> Answer:
        with self._administration.translated():
            return self._administration.answer((await sent).http_response)

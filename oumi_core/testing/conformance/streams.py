"""How an engine streams."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from oumi_core.testing.conformance.kit import EngineKit, tasks_beyond
from oumi_core.types import Chunk, Completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["StreamTests"]


class StreamTests(EngineKit):
    """Answers in pieces; those of an engine that does not stream are one piece."""

    def test_a_stream_ends_with_its_completion(self) -> None:
        """Any number of chunks, then one completion, then nothing."""
        items = self.run(_all(self.engine().stream(self.request())))
        assert items, "the stream was empty"
        assert isinstance(items[-1], Completion), "the stream ended without its completion"
        assert all(isinstance(item, Chunk) for item in items[:-1]), "a stream gives chunks first"

    def test_the_pieces_are_the_text(self) -> None:
        """Joined, they are what the completion says."""
        items = self.run(_all(self.engine().stream(self.request())))
        pieces = "".join(item.text for item in items if isinstance(item, Chunk))
        whole = next(item.text for item in items if isinstance(item, Completion))
        assert pieces == whole, "the pieces are not the completion's text"

    def test_pieces_come_as_they_are_made(self) -> None:
        """More than one, where the engine says that it streams."""
        self.needs(self.capabilities().streaming, "streaming")
        items = self.run(_all(self.engine().stream(self.request())))
        pieces = [item for item in items if isinstance(item, Chunk) and item.text]
        assert len(pieces) > 1, "the whole answer came as one piece"

    def test_a_stream_that_is_left_frees_what_it_holds(self) -> None:
        """After its first piece; the engine goes on."""
        left = self.run(_left(self.engine().stream(self.request())))
        assert not left, f"leaving a stream left {left} tasks"
        self.answer(self.request())


async def _all(stream: AsyncIterator[Chunk | Completion]) -> list[Chunk | Completion]:
    return [item async for item in stream]


async def _left(stream: Any) -> int:
    """Begin a stream and leave it; how many tasks it leaves."""
    before = len(asyncio.all_tasks())
    async for _ in stream:
        break
    if hasattr(stream, "aclose"):  # an iterator need not have it; core looks, too
        await stream.aclose()
    return await tasks_beyond(before)

"""Streams keep to the limits, the pauses and the retry policy of runs; in exact virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from oumi_core import get_engine
from oumi_core.engine import Engine, Request
from oumi_core.errors import EngineError
from oumi_core.types import Chunk, Completion, Conversation, Failure, FailureKind, Message, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BUSY = Failure(FailureKind.TRANSIENT, "busy", 503)


class Server(Engine):
    """Says `a`, `b` a second apart, or fails as the script says: before the first or after it."""

    remote: ClassVar[bool] = True
    starts: ClassVar[list[float]] = []
    before: ClassVar[deque[Failure]] = deque()
    after: ClassVar[deque[Failure]] = deque()

    async def complete(self, request: Request) -> Completion:
        raise NotImplementedError

    async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
        Server.starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        if Server.before:
            raise EngineError(Server.before.popleft())
        yield Chunk("a")
        await asyncio.sleep(1)
        if Server.after:
            raise EngineError(Server.after.popleft())
        yield Chunk("b")
        yield Completion(Message("assistant", "ab"), usage=Usage(1, 2))


@pytest.fixture(autouse=True)
def _new_server() -> None:
    Server.starts.clear()
    Server.before.clear()
    Server.after.clear()


async def streamed(engine: type[Engine] = Server, **fields: Any) -> Any:
    """Stream one answer on the loop of this test; the pieces and the stream."""
    pieces: list[str] = []

    async def put(piece: str) -> None:
        pieces.append(piece)

    conversation = Conversation([Message("user", "x")])
    stream = get_engine(engine, model="m", **fields).stream(conversation)
    try:
        await stream.execute(put)
    except EngineError as error:
        return pieces, error.failure
    return pieces, stream


def test_streams_keep_to_the_limits_that_they_share_with_runs(virtual: Any) -> None:
    async def main() -> None:
        await asyncio.gather(*(streamed(requests_per_minute=2) for _ in range(5)))

    virtual(main())
    assert Server.starts == [0.0, 0.0, 60.0, 60.0, 120.0]


def test_a_stream_settles_the_tokens_that_it_reserved(virtual: Any) -> None:
    async def main() -> None:
        fields: dict[str, Any] = {"output_tokens_per_minute": 102, "max_new_tokens": 100}
        await asyncio.gather(*(streamed(**fields) for _ in range(3)))

    virtual(main())
    assert Server.starts == [0.0, 2.0, 60.0]


def test_streams_hold_to_the_concurrency_that_the_server_bears(virtual: Any) -> None:
    async def main() -> None:
        await asyncio.gather(*(streamed() for _ in range(20)))

    virtual(main())
    assert Server.starts.count(0.0) == 8
    assert len(Server.starts) == 20


def test_the_time_to_the_first_piece_is_that_of_the_attempt_that_gave_it(virtual: Any) -> None:
    Server.before.append(BUSY)
    _, stream = virtual(streamed())
    assert stream.result.attempts == 2
    assert stream.completion.time_to_first_token == pytest.approx(1.0)


def test_a_stream_is_tried_again_until_its_first_piece(virtual: Any) -> None:
    Server.before.extend([BUSY, BUSY])
    pieces, stream = virtual(streamed(max_retries=3))
    assert pieces == ["a", "b"]
    assert stream.result.attempts == 3
    assert stream.result.latency == pytest.approx(Server.starts[2] + 2.0)


def test_a_stream_gives_up_when_its_policy_does(virtual: Any) -> None:
    Server.before.extend([BUSY] * 9)
    pieces, failure = virtual(streamed(max_retries=2))
    assert pieces == []
    assert failure == BUSY
    assert len(Server.starts) == 3


def test_a_stream_that_breaks_off_is_not_begun_again(virtual: Any) -> None:
    Server.after.append(BUSY)
    pieces, failure = virtual(streamed())
    assert pieces == ["a"]
    assert failure == BUSY
    assert len(Server.starts) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_rate_limit_in_one_stream_makes_all_wait(virtual: Any, when: str) -> None:
    slow = Failure(FailureKind.RATE_LIMIT, "slow", 429, retry_after=30)
    getattr(Server, when).append(slow)

    async def main() -> None:
        await streamed()
        await streamed()

    virtual(main())
    assert len(Server.starts) >= 2
    assert Server.starts[1] >= 31.0


def test_a_hint_beyond_the_cap_ends_the_stream_and_says_so(virtual: Any) -> None:
    Server.before.append(Failure(FailureKind.TRANSIENT, "down", 503, retry_after=600))
    _, failure = virtual(streamed())
    assert "wait 600 s" in failure.message


def test_row_deadline_cuts_a_stream_that_does_not_begin(virtual: Any) -> None:
    class Hangs(Server):
        async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
            await asyncio.sleep(10**6)
            yield Chunk("late")

    async def main() -> tuple[float, Failure]:
        _, failure = await streamed(Hangs, row_deadline=5.0)
        return asyncio.get_running_loop().time(), failure

    at, failure = virtual(main())
    assert at == 5.0
    assert failure.kind is FailureKind.TIMEOUT
    assert "row_deadline (5 s)" in failure.message


def test_row_deadline_lets_a_stream_that_has_begun_go_on(virtual: Any) -> None:
    pieces, _ = virtual(streamed(row_deadline=1.5))
    assert pieces == ["a", "b"]


def test_a_stream_that_is_dropped_frees_its_place(virtual: Any) -> None:
    async def main() -> None:
        going = [asyncio.create_task(streamed()) for _ in range(8)]
        await asyncio.sleep(0.5)
        for each in going:
            each.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        await streamed()

    virtual(main())
    assert Server.starts == [0.0] * 8 + [0.5]


def test_an_engine_that_cancels_itself_fails_the_stream(virtual: Any) -> None:
    class Odd(Server):
        async def stream(self, request: Request) -> AsyncIterator[Chunk | Completion]:
            if request.conversation.messages:
                raise asyncio.CancelledError
            yield Chunk("never")

    _, failure = virtual(streamed(Odd))
    assert failure.kind is FailureKind.INTERNAL

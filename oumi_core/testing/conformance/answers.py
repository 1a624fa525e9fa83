"""What an engine answers with."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, ClassVar

import attrs
import pytest

from oumi_core.testing.conformance.kit import EngineKit, tasks_beyond
from oumi_core.types import (
    Completion,
    ContentItem,
    ContentType,
    Conversation,
    Failure,
    FailureKind,
    FinishReason,
    Message,
    Role,
    ToolDefinition,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

__all__ = ["AnswerTests"]

_WEATHER = ToolDefinition.from_dict(
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
)

_DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A picture of one pixel, in PNG."""

_MOMENTS = (0.0, 0.001, 0.01)
"""Seconds after which a request is cancelled: while it is sent, and while it is answered."""

_SLOW = 0.2
"""Seconds from which on it can be told whether an answer held up the loop."""


class AnswerTests(EngineKit):
    """Answers to whole requests.

    Attributes:
        adapter: an `adapter_model` that the engine can be asked for beside its model, where it
            declares `lora`; None to leave that out.
    """

    adapter: ClassVar[str | None] = None

    def test_it_answers_with_a_completion(self) -> None:
        """A reply of the assistant, a reason why it ended, and counts that make sense."""
        completion = self.answer(self.request())
        assert isinstance(completion, Completion), f"complete() gave {type(completion).__name__}"
        assert completion.message.role is Role.ASSISTANT, "the reply's role must be assistant"
        assert isinstance(completion.finish_reason, FinishReason), "finish_reason: a FinishReason"
        usage = completion.usage
        if usage is not None:
            _check_usage(usage)

    def test_asking_changes_nothing_of_the_request(self) -> None:
        """Rows are sent again, and belong to the user."""
        request = self.request()
        before = request.conversation.to_json()
        self.answer(request)
        assert request.conversation.to_json() == before, "complete() changed the conversation"

    def test_it_takes_a_dialogue(self) -> None:
        """A system message and earlier turns."""
        turns = [
            Message(Role.SYSTEM, "Answer in one sentence."),
            Message(Role.USER, self.question),
            Message(Role.ASSISTANT, "Let me think."),
            Message(Role.USER, self.question),
        ]
        completion = self.answer(self.request(conversation=Conversation(turns)))
        assert isinstance(completion, Completion), f"complete() gave {type(completion).__name__}"

    def test_as_many_as_it_asks_for_are_in_flight_at_once(self) -> None:
        """`num_workers` requests, each with an answer of its own."""
        engine = self.engine()
        asked = [self.request() for _ in range(min(engine.num_workers, 64))]

        async def gather() -> list[Completion]:
            return await asyncio.gather(*map(engine.complete, asked))

        answers = self.run(gather())
        assert all(isinstance(answer, Completion) for answer in answers), "one has no completion"
        messages = {id(answer.message) for answer in answers}
        assert len(messages) == len(asked), "two rows share a message: who edits one edits both"

    def test_the_loop_goes_on_while_it_answers(self) -> None:
        """A call that blocks stops every row; it belongs into `asyncio.to_thread`."""
        took, longest = self.run(_watched(self.engine().complete(self.request())))
        if took < _SLOW:
            pytest.skip(f"it answered in {took:.3f} s: too fast to tell")
        assert longest < took / 2, f"complete() held up the loop for {longest:.2f} of {took:.2f} s"

    def test_a_cancelled_request_ends_and_leaves_no_task(self) -> None:
        """It is cancelled when nobody waits for it any more; the engine goes on."""
        engine = self.engine()
        for seconds in _MOMENTS:
            left = self.run(_cancelled(engine.complete(self.request()), seconds))
            assert not left, f"cancelling left {left} tasks"
        self.answer(self.request())

    def test_tools_are_taken(self) -> None:
        """An answer in words, or calls of the tools that were given."""
        self.needs(self.capabilities().tools, "tools")
        asked = [Message(Role.USER, "What is the weather in Paris?")]
        request = self.request(conversation=Conversation(asked, tools=[_WEATHER]))
        for call in self.answer(request).message.tool_calls or ():
            assert call.function.name == "get_weather", f"no such tool: {call.function.name!r}"

    def test_an_image_is_taken_or_fails_its_row(self) -> None:
        """A model that sees nothing may refuse it: as the row's own fault."""
        self.needs(self.capabilities().images, "images")
        picture = ContentItem(ContentType.IMAGE_BINARY, binary=_DOT)
        words = ContentItem(ContentType.TEXT, "What is this?")
        request = self.request(conversation=Conversation([Message(Role.USER, [picture, words])]))
        outcome = self.outcome(request)
        if isinstance(outcome, Failure):
            kind = outcome.kind
            assert kind is FailureKind.BAD_REQUEST, f"refused as {kind.value}, not bad_request"

    def test_an_adapter_is_taken(self) -> None:
        """`adapter_model` beside the model, where the instance says that it serves it."""
        self.needs(self.capabilities().lora and self.adapter, "lora, or names no adapter")
        model = attrs.evolve(self.engine().config.model, adapter_model=self.adapter)
        if not self.engine().serves(model):
            pytest.skip("the instance serves its own model only; core makes one for the adapter")
        completion = self.answer(attrs.evolve(self.request(), model=model))
        assert isinstance(completion, Completion), f"complete() gave {type(completion).__name__}"

    def test_it_lists_models(self) -> None:
        """Names, sorted."""
        names = self.run(self.engine().list_models())
        assert all(isinstance(name, str) for name in names), f"list_models() gave {names}"
        assert names == sorted(names), "list_models() must be sorted"


def _check_usage(usage: Usage) -> None:
    counts = usage.to_dict()
    assert all(count >= 0 for count in counts.values()), f"usage: negative counts: {counts}"
    parts = usage.prompt_tokens + usage.completion_tokens
    assert usage.total_tokens >= parts, f"usage: the total is less than its parts: {counts}"


async def _watched(answer: Awaitable[Completion]) -> tuple[float, float]:
    """Seconds that an answer took, and the longest time in which the loop did nothing else."""
    clock = asyncio.get_running_loop().time
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        last = clock()
        while True:
            await asyncio.sleep(0.005)
            longest, last = max(longest, clock() - last), clock()

    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0)
    started = clock()
    try:
        await answer
        took = clock() - started
        await asyncio.sleep(0.01)  # the watcher sees a call that held up the loop after it
    finally:
        watcher.cancel()
    return took, longest


async def _cancelled(answer: Coroutine[None, None, Completion], seconds: float) -> int:
    """Send a request and cancel it a little later; how many tasks it leaves."""
    before = len(asyncio.all_tasks())
    task = asyncio.create_task(answer)
    await asyncio.sleep(seconds)
    in_time = task.cancel()  # else it has answered already
    await asyncio.wait([task])
    if in_time and not task.cancelled():
        error = task.exception()
        instead = "answered" if error is None else f"raised {type(error).__name__}"
        pytest.fail(f"complete() was cancelled and {instead} instead: let CancelledError pass")
    return await tasks_beyond(before)

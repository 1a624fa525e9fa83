from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from asking import FRANCE, PARIS, Ask, new_engine, request, with_engine
from oumi_core.engine import Request
from oumi_core.errors import EngineError
from oumi_core.types import (
    Chunk,
    Completion,
    ContentItem,
    Conversation,
    FailureKind,
    FinishReason,
    Message,
)

if TYPE_CHECKING:
    from oumi_llamacpp.engine import LlamaCppEngine

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "Japan": "Tokyo",
}
ENDLESS: dict[str, Any] = {"max_new_tokens": 1900, "extra_body": {"ignore_eos": True}}


async def pieces(engine: LlamaCppEngine, asked: Request) -> tuple[list[Chunk], Completion]:
    items = [item async for item in engine.stream(asked)]
    chunks = [item for item in items if isinstance(item, Chunk)]
    last = items[-1]
    assert isinstance(last, Completion)
    assert len(chunks) == len(items) - 1
    return chunks, last


def test_the_demo_model_answers_with_usage_and_finish_reason(ask: Ask) -> None:
    completion = ask(FRANCE)

    assert completion.text == PARIS
    assert completion.finish_reason is FinishReason.STOP
    assert completion.model == "demo"
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 5
    assert completion.usage.completion_tokens > 5


def test_64_at_once_are_all_right(engine: LlamaCppEngine) -> None:
    countries = [*CAPITALS] * 13

    async def all_of_them() -> list[Completion]:
        asked = [request(f"What is the capital of {country}?") for country in countries[:64]]
        return await asyncio.gather(*map(engine.complete, asked))

    answers = [completion.text for completion in asyncio.run(all_of_them())]

    assert answers == [f"The capital of {c} is {CAPITALS[c]}." for c in countries[:64]]


def test_streamed_pieces_are_the_whole(engine: LlamaCppEngine) -> None:
    chunks, completion = asyncio.run(pieces(engine, request()))

    assert len(chunks) > 3
    assert "".join(chunk.text for chunk in chunks) == completion.text == PARIS
    assert completion.usage is not None


def test_pieces_come_while_the_answer_is_made(engine: LlamaCppEngine) -> None:
    async def first_piece_of_an_endless_answer() -> Chunk | Completion:
        async for item in engine.stream(request(**ENDLESS)):
            return item
        raise AssertionError

    assert isinstance(asyncio.run(first_piece_of_an_endless_answer()), Chunk)


def test_the_budget_and_a_stop_string_end_an_answer(ask: Ask) -> None:
    short = ask(max_new_tokens=2)
    stopped = ask(stop_strings=[" is", " of"])

    assert (short.text, short.finish_reason) == ("The capital", FinishReason.LENGTH)
    assert (stopped.text, stopped.finish_reason) == ("The capital", FinishReason.STOP)


@pytest.mark.parametrize("seed", [0, 7, -1, 2**70])
def test_a_seed_repeats_an_answer_whatever_else_runs(engine: LlamaCppEngine, seed: int) -> None:
    asked = request("Roll a die.", seed=seed, temperature=1.5)

    async def answers() -> tuple[str, set[str]]:
        alone = (await engine.complete(asked)).text
        crowd = [request(temperature=2.0, seed=other) for other in range(20)]
        among = await asyncio.gather(*map(engine.complete, [asked, *crowd, asked, asked]))
        return alone, {among[0].text, among[-2].text, among[-1].text}

    alone, among = asyncio.run(answers())

    assert among == {alone}


def test_seeds_differ(ask: Ask) -> None:
    assert len({ask(seed=n, temperature=3.0, top_p=1.0, top_k=500).text for n in range(8)}) > 3


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"min_p": 1.0}, {"top_p": 0.0}])
def test_sampling_can_be_narrowed_to_the_likeliest(ask: Ask, narrow: dict[str, Any]) -> None:
    wide = {ask(temperature=5.0, top_p=1.0, top_k=500, seed=n).text for n in range(5)}

    assert wide != {PARIS}
    assert {ask(temperature=5.0, seed=n, **narrow).text for n in range(5)} == {PARIS}


def test_a_bias_forbids_a_token(ask: Ask) -> None:
    logprobs = ask(logprobs=True).logprobs
    assert logprobs is not None
    paris = {entry["token"]: entry["id"] for entry in logprobs["content"]}[" Paris"]

    assert "Paris" not in ask(logit_bias={paris: -100}).text


@pytest.mark.parametrize(
    "penalty",
    [{"repetition_penalty": 3.0}, {"presence_penalty": 2.0}, {"frequency_penalty": 2.0}],
)
def test_penalties_reach_the_sampler(ask: Ask, penalty: dict[str, Any]) -> None:
    def rolls(**more: Any) -> list[str]:
        # The digits of the prompt count as said before.
        return [ask("Roll a die. 1 2 3", temperature=1.0, seed=n, **more).text for n in range(12)]

    assert rolls() == rolls()
    assert rolls() != rolls(**penalty)


def test_logprobs_have_their_alternatives(ask: Ask) -> None:
    completion = ask(logprobs=True, top_logprobs=3)

    assert completion.logprobs is not None
    entries = completion.logprobs["content"]
    assert "".join(entry["token"] for entry in entries).startswith(PARIS)
    assert [len(entry["top_logprobs"]) for entry in entries] == [3] * len(entries)


def test_a_prompt_beyond_the_context_is_refused_with_numbers(ask: Ask) -> None:
    with pytest.raises(EngineError, match=r"\d{4,} tokens .* 2048 tokens") as caught:
        ask("secret " * 5000)

    assert caught.value.failure.kind is FailureKind.BAD_REQUEST
    assert "secret" not in str(caught.value)


def test_an_image_is_refused(engine: LlamaCppEngine) -> None:
    item = ContentItem("image_url", "http://127.0.0.1/x.png")
    asked = Request(
        Conversation([Message("user", [item])]),
        request().model,
        request().generation,
    )

    with pytest.raises(EngineError, match="image") as caught:
        asyncio.run(engine.complete(asked))

    assert caught.value.failure.kind is FailureKind.BAD_REQUEST
    assert engine.capabilities.images is False


def test_cancelled_requests_free_their_slots(engine: LlamaCppEngine) -> None:
    async def cancel_more_than_there_are_slots() -> str:
        endless = [
            asyncio.ensure_future(engine.complete(request(**ENDLESS)))
            for _ in range(3 * engine.num_workers)
        ]
        await asyncio.sleep(0.1)
        for task in endless:
            task.cancel()
        ended = await asyncio.gather(*endless, return_exceptions=True)
        assert {type(end) for end in ended} == {asyncio.CancelledError}
        return (await engine.complete(request())).text

    assert asyncio.run(cancel_more_than_there_are_slots()) == PARIS


def test_an_abandoned_stream_stops_generating() -> None:
    async def abandon_and_ask(engine: LlamaCppEngine) -> str:
        stream = engine.stream(request(**ENDLESS))
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        return (await engine.complete(request())).text

    one_slot = new_engine(engine_args={"n_parallel": 1})

    assert with_engine(one_slot, abandon_and_ask) == PARIS


def test_a_dialogue_is_answered_as_a_whole(engine: LlamaCppEngine) -> None:
    asked = Request(
        Conversation.from_dict(
            {
                "messages": [
                    {"role": "user", "content": "What is the capital of Japan?"},
                    {"role": "assistant", "content": "The capital of Japan is Tokyo."},
                    {"role": "user", "content": "And of Italy?"},
                ]
            }
        ),
        request().model,
        request().generation,
    )

    assert asyncio.run(engine.complete(asked)).text == "The capital of Italy is Rome."


def test_an_engine_that_is_not_started_says_so() -> None:
    with pytest.raises(EngineError, match="not started") as caught:
        asyncio.run(new_engine().complete(request()))

    assert caught.value.failure.kind is FailureKind.ENGINE_DEAD

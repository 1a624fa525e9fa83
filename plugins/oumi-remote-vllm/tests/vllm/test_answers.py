"""Chat, streams and failures, as a vLLM server gives them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.errors import ConfigError, InferenceFailed
from oumi_core.types.completion import FinishReason
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.types.conversation import Conversation
    from oumi_core.types.failure import Failure

    from tests.vllm.conftest import Engines, Server

    Ask = Callable[..., list[Conversation]]

FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."


def said(conversations: list[Conversation]) -> list[str]:
    return [str(one.messages[-1].content) for one in conversations]


def failure_of(engines: Engines, rows: list[Conversation], **fields: Any) -> Failure:
    with pytest.raises(InferenceFailed) as caught:
        engines(**fields).infer(rows)
    (result,) = caught.value.results
    assert result.error is not None
    return result.error


def test_many_rows_are_answered_in_their_order(engines: Engines, ask: Ask) -> None:
    sums = [(a, b) for a in range(8) for b in range(8)]
    rows = ask(*(f"What is {a}+{b}?" for a, b in sums))
    assert said(engines(num_workers=32).infer(rows)) == [
        f"The sum of {a} and {b} is {a + b}." for a, b in sums
    ]


def test_a_result_tells_tokens_time_and_the_model(engines: Engines, ask: Ask) -> None:
    (result,) = engines().run(ask(FRANCE))
    assert result.usage is not None
    assert result.usage.completion_tokens > 3
    assert result.finish_reason is FinishReason.STOP


def test_a_stream_comes_in_pieces(engines: Engines, ask: Ask) -> None:
    stream = engines().stream(ask(FRANCE)[0])
    pieces = list(stream)
    assert "".join(pieces) == PARIS
    assert len(pieces) > 3
    assert stream.completion is not None
    assert stream.completion.usage is not None
    assert stream.completion.usage.completion_tokens >= len(pieces) - 1


def test_the_tokens_likelihood_is_told(engines: Engines, ask: Ask) -> None:
    stream = engines(logprobs=True, top_logprobs=2).stream(ask(FRANCE)[0])
    list(stream)
    assert stream.completion is not None
    assert stream.completion.logprobs is not None
    assert len(stream.completion.logprobs["content"][0]["top_logprobs"]) == 2


def test_an_answer_that_is_cut_says_so(engines: Engines, ask: Ask) -> None:
    (result,) = engines(max_new_tokens=3).run(ask(FRANCE))
    assert result.finish_reason is FinishReason.LENGTH
    failure = failure_of(engines, ask(FRANCE), max_new_tokens=3, on_truncated="fail")
    assert failure.kind is FailureKind.TRUNCATED


def test_a_prompt_that_is_too_long_fails_its_row_alone(engines: Engines, ask: Ask) -> None:
    with pytest.raises(InferenceFailed) as caught:
        engines().infer(ask(FRANCE, "hello " * 2000, FRANCE))
    first, second, third = caught.value.results
    assert first.ok
    assert third.ok
    assert second.error is not None
    assert second.error.kind is FailureKind.BAD_REQUEST
    assert "maximum context length is 1024 tokens" in second.error.message


def test_a_budget_beyond_the_context_fails_the_row(engines: Engines, ask: Ask) -> None:
    failure = failure_of(engines, ask(FRANCE), max_new_tokens=5000)
    assert failure.kind is FailureKind.BAD_REQUEST
    assert "5000" in failure.message


def test_a_model_that_is_not_served_is_told_with_the_nearest(engines: Engines, ask: Ask) -> None:
    with pytest.raises(ConfigError, match="does not serve 'tinny'; did you mean 'tiny'"):
        engines("tinny").infer(ask(FRANCE))


def test_a_model_is_found_by_the_folder_that_it_was_loaded_from(
    engines: Engines, server: Server, ask: Ask
) -> None:
    assert said(engines(str(server.model)).infer(ask(FRANCE))) == [PARIS]


def test_the_names_that_are_served_can_be_listed(engines: Engines) -> None:
    listed = engines().list_models()
    assert {"tiny", "my-adapter", "adapter-v1", "adapter-v2"} <= set(listed)


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"min_p": 1.0}])
def test_a_narrow_choice_of_tokens_undoes_a_high_temperature(
    engines: Engines, ask: Ask, fields: dict[str, Any]
) -> None:
    rows = ask(*[FRANCE] * 8)
    assert set(said(engines(temperature=2.0, **fields).infer(rows))) == {PARIS}


def test_repetition_can_be_punished(engines: Engines, ask: Ask) -> None:
    rows = ask("Count from one to twenty.")
    plain = said(engines().infer(rows))
    assert said(engines(repetition_penalty=1.8, max_new_tokens=64).infer(rows)) != plain


def test_tokens_that_end_an_answer_end_it(engines: Engines, server: Server, ask: Ask) -> None:
    vocabulary = json.loads((server.model / "tokenizer.json").read_text())["model"]["vocab"]
    stop = [number for token, number in vocabulary.items() if token.strip("Ġ") == "is"]
    (text,) = said(engines(stop_token_ids=stop).infer(ask(FRANCE)))
    assert text.startswith("The capital of France")
    assert "Paris" not in text


def test_special_tokens_can_be_kept(engines: Engines, ask: Ask) -> None:
    going_on = {"max_new_tokens": 24, "extra_body": {"ignore_eos": True}}
    assert "<|im_end|>" not in said(engines(**going_on).infer(ask(FRANCE)))[0]
    kept = engines(**going_on, skip_special_tokens=False)
    assert "<|im_end|>" in said(kept.infer(ask(FRANCE)))[0]


def test_priorities_and_variables_of_the_template_are_taken(engines: Engines, ask: Ask) -> None:
    engine = engines(chat_template_kwargs={"enable_thinking": False}, engine_args={"priority": 5})
    assert said(engine.infer(ask(FRANCE))) == [PARIS]

from __future__ import annotations

import pytest

from oumi_core.types import (
    Chunk,
    Completion,
    Conversation,
    Failure,
    FailureKind,
    FinishReason,
    Message,
    Result,
    Role,
    Usage,
)

PROMPT, ANSWER = "the quick brown prompt", "the lazy answer"
CONVERSATION = Conversation([Message(Role.USER, PROMPT)])
REPLY = Message(Role.ASSISTANT, ANSWER)

RETRYABLE = {
    *("rate_limit", "transient", "timeout", "engine_dead", "canceled", "expired", "missing"),
    "budget",
}
STOPPING = {"auth", "quota", "engine_dead", "budget"}


@pytest.mark.parametrize("kind", FailureKind)
def test_the_kind_says_whether_to_try_again_and_whether_to_stop(kind: FailureKind) -> None:
    failure = Failure(kind, "it failed")
    assert failure.retryable == (kind.value in RETRYABLE)
    assert failure.stops_run == (kind.value in STOPPING)


def test_a_failure_is_written_without_what_is_unknown() -> None:
    assert Failure(FailureKind.AUTH, "no key").to_dict() == {
        "kind": "auth",
        "message": "no key",
        "retryable": False,
    }
    full = Failure(FailureKind.RATE_LIMIT, "slow down", 429, "rpm", 0.0, "req-1")
    assert full.to_dict() == {
        "kind": "rate_limit",
        "message": "slow down",
        "status": 429,
        "code": "rpm",
        "retry_after": 0.0,
        "request_id": "req-1",
        "retryable": True,
    }


def test_the_total_is_the_sum_unless_the_engine_says_otherwise() -> None:
    assert Usage() == Usage(0, 0, 0)
    assert Usage(3, 4).total_tokens == 7
    assert Usage(3, 4, 9).total_tokens == 9


def test_usages_add_up_and_what_nobody_says_stays_unknown() -> None:
    one = Usage(3, 4, cached_tokens=2)
    assert Usage(1, 1) + Usage(2, 2) == Usage(3, 3)
    assert one + Usage(1, 1, 9) == Usage(4, 5, 16, cached_tokens=2)
    assert one + one - one == one


def test_usage_is_written_without_what_is_unknown() -> None:
    known = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert Usage(3, 4).to_dict() == known
    assert Usage(3, 4, cached_tokens=0).to_dict() == {**known, "cached_tokens": 0}


def test_a_completion_knows_nothing_that_it_was_not_told() -> None:
    completion = Completion(REPLY)
    assert completion.text == ANSWER
    assert completion.finish_reason is FinishReason.UNKNOWN
    assert completion.alternatives == ()
    unknown = ("usage", "model", "request_id", "refusal", "logprobs", "time_to_first_token")
    assert [getattr(completion, name) for name in unknown] == [None] * len(unknown)


def test_a_result_reads_through_to_its_completion() -> None:
    completion = Completion(REPLY, FinishReason.STOP, Usage(1, 2))
    result = Result(0, CONVERSATION, completion)
    assert result.ok
    assert result.text == ANSWER
    assert result.usage == Usage(1, 2)
    assert result.finish_reason is FinishReason.STOP
    assert (result.attempts, result.latency, result.checked) == (1, 0.0, None)


def test_a_result_without_an_answer_has_no_text() -> None:
    result = Result(3, CONVERSATION, error=Failure(FailureKind.TIMEOUT, "no answer"))
    assert not result.ok
    assert result.text == ""
    assert result.usage is None
    assert result.finish_reason is None


def test_a_failed_row_may_have_an_answer_that_was_not_accepted() -> None:
    error = Failure(FailureKind.TRUNCATED, "too long")
    result = Result(3, CONVERSATION, Completion(REPLY, FinishReason.LENGTH), error)
    assert not result.ok
    assert result.text == ANSWER


def test_what_an_engine_raised_decides_no_equality() -> None:
    error = Failure(FailureKind.INTERNAL, "the engine raised ValueError")
    assert Result(0, CONVERSATION, error=error, exception=ValueError(PROMPT)) == Result(
        0, CONVERSATION, error=error
    )


def test_no_repr_shows_a_prompt_or_an_answer() -> None:
    completion = Completion(
        REPLY,
        refusal=ANSWER,
        logprobs={"content": [{"token": ANSWER}]},
        alternatives=(REPLY,),
    )
    result = Result(0, CONVERSATION, completion, parsed={"a": ANSWER}, exception=Exception(PROMPT))
    shown = repr(completion) + repr(result) + repr(Chunk(ANSWER, PROMPT))
    assert PROMPT not in shown
    assert ANSWER not in shown
    assert repr(Chunk("abc")) == "Chunk(text=<3 characters>, reasoning=<0 characters>)"

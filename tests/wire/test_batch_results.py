"""What is written as a line of an output or error file is read back as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.types import (
    Completion,
    Failure,
    FailureKind,
    FinishReason,
    FunctionCall,
    Message,
    Role,
    ToolCall,
    Usage,
)
from oumi_core.wire import decode_batch_line
from oumi_core.wire.batch_results import encode_batch_answer, encode_batch_failure

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
COUNT = st.integers(0, 10**6)
CALL = st.builds(ToolCall, id=TEXT, function=st.builds(FunctionCall, name=TEXT, arguments=TEXT))
MESSAGE = st.builds(
    Message,
    st.just(Role.ASSISTANT),
    TEXT,
    tool_calls=st.none() | st.lists(CALL, min_size=1, max_size=2),
    reasoning_content=st.none() | TEXT,
)
USAGE = st.builds(
    Usage,
    COUNT,
    COUNT,
    cached_tokens=st.none() | COUNT,
    cache_creation_tokens=st.none() | COUNT,
    reasoning_tokens=st.none() | COUNT,
)
COMPLETION = st.builds(
    Completion,
    MESSAGE,
    st.sampled_from([FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS]),
    usage=st.none() | USAGE,
    model=st.none() | TEXT,
    request_id=st.none() | TEXT,
    refusal=st.none() | TEXT,
    alternatives=st.lists(MESSAGE, max_size=2).map(tuple),
)


@given(TEXT, COMPLETION)
def test_an_answer_comes_back_as_it_was(custom_id: str, completion: Completion) -> None:
    line = decode_batch_line(encode_batch_answer(custom_id, completion))
    assert line.failure is None
    assert (line.custom_id, line.completion) == (custom_id, completion)


@pytest.mark.parametrize(
    "failure",
    [
        Failure(FailureKind.BAD_REQUEST, "too long", status=400, code="context_length_exceeded"),
        Failure(FailureKind.RATE_LIMIT, "slower", status=429, code="rate_limit_exceeded"),
        Failure(FailureKind.EXPIRED, "the window closed", code="batch_expired"),
        Failure(FailureKind.CANCELED, "stopped", code="batch_cancelled"),
    ],
)
def test_a_failure_comes_back_as_it_was(failure: Failure) -> None:
    line = decode_batch_line(encode_batch_failure("row", failure))
    assert line.custom_id == "row"
    assert line.failure is not None
    assert (line.failure.kind, line.failure.code) == (failure.kind, failure.code)
    assert failure.message in line.failure.message


def test_lines_have_the_shape_of_openai() -> None:
    answer = json.loads(encode_batch_answer("r", Completion(Message(Role.ASSISTANT, "a"))))
    assert list(answer) == ["id", "custom_id", "response", "error"]
    assert list(answer["response"]) == ["status_code", "request_id", "body"]
    assert answer["response"]["body"]["object"] == "chat.completion"
    missing = json.loads(encode_batch_failure("r", Failure(FailureKind.MISSING, "nothing")))
    assert (missing["response"], missing["error"]["code"]) == (None, "missing")

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.errors import EngineError
from oumi_core.types import (
    Completion,
    ContentItem,
    ContentType,
    FailureKind,
    FinishReason,
    FunctionCall,
    Message,
    Role,
    ToolCall,
    Usage,
)
from oumi_core.wire import decode_completion


def body(message: dict[str, Any], /, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, **choice}]}


def reply(**message: Any) -> Message:
    return decode_completion(body({"role": "assistant", **message})).message


def test_a_whole_answer() -> None:
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2026",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Paris.",
                    "refusal": None,
                    "annotations": [],
                    "tool_calls": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
    assert decode_completion(answer) == Completion(
        message=Message(Role.ASSISTANT, "Paris."),
        finish_reason=FinishReason.STOP,
        usage=Usage(5, 2, 7),
        model="m-2026",
        request_id="chatcmpl-1",
    )
    assert decode_completion(answer, request_id="req_1").request_id == "req_1"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("STOP", FinishReason.STOP),
        ("eos", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("max_tokens", FinishReason.LENGTH),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("repetition", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("error", FinishReason.ERROR),
        ("abort", FinishReason.ERROR),
        ("something new", FinishReason.UNKNOWN),
        (None, FinishReason.UNKNOWN),
        (7, FinishReason.UNKNOWN),
    ],
)
def test_finish_reasons(word: Any, reason: FinishReason) -> None:
    assert decode_completion(body({"content": "x"}, finish_reason=word)).finish_reason is reason


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (None, None),
        ({}, None),
        ("many", None),
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4, 7)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 9}, Usage(3, 4, 9)),
        ({"prompt_tokens": 3, "completion_tokens": None}, Usage(3, 0, 3)),
        ({"prompt_tokens": True, "completion_tokens": -1}, None),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(3, 4, 7, cached_tokens=2, reasoning_tokens=1),
        ),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "prompt_tokens_details": None,
                "cached_tokens": 0,
                "cache_creation_input_tokens": 5,
                "reasoning_tokens": 1,
            },
            Usage(3, 4, 7, cached_tokens=0, cache_creation_tokens=5, reasoning_tokens=1),
        ),
        (
            {"prompt_tokens": 3, "completion_tokens": 4, "prompt_cache_hit_tokens": 1},
            Usage(3, 4, 7, cached_tokens=1),
        ),
    ],
)
def test_usage(usage: Any, counts: Usage | None) -> None:
    assert decode_completion({**body({"content": "x"}), "usage": usage}).usage == counts


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "x"}, Message(Role.ASSISTANT, "x")),
        ({"content": None}, Message(Role.ASSISTANT, "")),
        ({}, Message(Role.ASSISTANT, "")),
        ({"content": "<think>x</think>y"}, Message(Role.ASSISTANT, "<think>x</think>y")),
        (
            {"content": "x", "reasoning_content": "hm"},
            Message(Role.ASSISTANT, "x", reasoning_content="hm"),
        ),
        (
            {"content": "x", "reasoning": "a", "reasoning_content": "b"},
            Message(Role.ASSISTANT, "x", reasoning_content="a"),
        ),
        (
            {"content": "x", "reasoning": None, "reasoning_content": "b"},
            Message(Role.ASSISTANT, "x", reasoning_content="b"),
        ),
        (
            {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            Message(Role.ASSISTANT, "ab"),
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "a"},
                ]
            },
            Message(Role.ASSISTANT, "a", reasoning_content="hm"),
        ),
        (
            {"content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "a"}]},
            Message(Role.ASSISTANT, "a", reasoning_content="hm"),
        ),
        ({"content": []}, Message(Role.ASSISTANT, "")),
        (
            {"content": [{"type": "image_url", "image_url": {"url": "http://x/a"}}]},
            Message(Role.ASSISTANT, [ContentItem(ContentType.IMAGE_URL, "http://x/a")]),
        ),
        (
            {"content": "x", "audio": None, "annotations": [{"url": "http://x"}]},
            Message(Role.ASSISTANT, "x", extra={"annotations": [{"url": "http://x"}]}),
        ),
    ],
)
def test_messages(message: dict[str, Any], expected: Message) -> None:
    assert reply(**message) == expected


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        (
            {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}}]},
            [ToolCall("a", FunctionCall("f", '{"x":1}'))],
        ),
        (
            {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]},
            [ToolCall("a", FunctionCall("f", '{"x":1}'))],
        ),
        (
            {
                "tool_calls": [
                    {"index": 0, "type": "function", "function": {"name": "f", "arguments": None}},
                    {"index": 1, "id": "", "function": {"name": "g"}},
                ]
            },
            [ToolCall("call_0", FunctionCall("f")), ToolCall("call_1", FunctionCall("g"))],
        ),
        (
            {"function_call": {"name": "f", "arguments": "{}"}},
            [ToolCall("call_0", FunctionCall("f", "{}"))],
        ),
    ],
)
def test_tool_calls(message: dict[str, Any], calls: list[ToolCall]) -> None:
    found = reply(content=None, **message)
    assert found == Message(Role.ASSISTANT, None, tool_calls=calls)


def test_an_empty_error_beside_an_answer_is_none() -> None:
    nothings: list[Any] = [None, "", {}]
    for nothing in nothings:
        assert decode_completion({**body({"content": "x"}), "error": nothing}).text == "x"


def test_a_refusal_in_either_place() -> None:
    assert decode_completion(body({"content": None, "refusal": "No."})).refusal == "No."
    part = {"type": "refusal", "refusal": "No."}
    assert decode_completion(body({"content": [part]})).refusal == "No."


def test_log_probabilities_come_as_they_are() -> None:
    logprobs = {"content": [{"token": "x", "logprob": -0.1}]}
    assert decode_completion(body({"content": "x"}, logprobs=logprobs)).logprobs == logprobs


def test_the_other_choices_are_alternatives() -> None:
    answer = {"choices": [{"message": {"content": text}} for text in "abc"]}
    completion = decode_completion(answer)
    assert completion.text == "a"
    assert [message.text for message in completion.alternatives] == ["b", "c"]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        7,
        [],
        [{}],
        {},
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": 7}}]},
        {"choices": [{"message": {"content": [None]}}]},
        {"choices": [{"message": {"content": [{"type": "text"}]}}]},
        {"choices": [{"message": {"content": [{"type": "hologram"}]}}]},
        {"choices": [{"message": {"tool_calls": "f"}}]},
        {"choices": [{"message": {"tool_calls": [None]}}]},
        {"choices": [{"message": {"tool_calls": [{"function": {}}]}}]},
        {"choices": [{"message": {"content": "x"}}, {}]},
    ],
)
def test_what_is_no_completion_may_pass_the_next_time(answer: Any) -> None:
    with pytest.raises(EngineError, match="malformed answer") as caught:
        decode_completion(answer)
    assert caught.value.failure.kind is FailureKind.TRANSIENT


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ({"error": {"message": "slow", "code": 429}}, FailureKind.RATE_LIMIT, "slow"),
        ({"error": {"message": "?", "code": "model_not_found"}}, FailureKind.NOT_FOUND, "?"),
        ({"error": "broken"}, FailureKind.TRANSIENT, "broken"),
        (
            {**body({"content": "Par"}), "error": {"message": "cut", "code": 502}},
            FailureKind.TRANSIENT,
            "cut",
        ),
        ([{"error": {"code": 400, "message": "bad"}}], FailureKind.BAD_REQUEST, "bad"),
        ({"object": "error", "message": "bad", "code": 400}, FailureKind.BAD_REQUEST, "bad"),
        ({"detail": "Unauthorized", "status": 401}, FailureKind.AUTH, "Unauthorized"),
        (
            {"choices": [{"error": {"code": 502, "message": "upstream"}, "message": {}}]},
            FailureKind.TRANSIENT,
            "upstream",
        ),
    ],
)
def test_an_error_in_place_of_an_answer(answer: Any, kind: FailureKind, message: str) -> None:
    with pytest.raises(EngineError) as caught:
        decode_completion(answer, request_id="req_1")
    failure = caught.value.failure
    assert (failure.kind, failure.message, failure.request_id) == (kind, message, "req_1")


# Names of the format, so that the search gets below the surface.
NAMES = [
    "choices",
    "message",
    "content",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "function_call",
    "usage",
    "error",
    "code",
    "detail",
    "details",
    "prompt_tokens",
    "prompt_tokens_details",
    "cached_tokens",
    "type",
    "text",
    "image_url",
    "url",
    "refusal",
    "reasoning",
    "thinking",
    "finish_reason",
    "logprobs",
    "id",
    "model",
    "index",
    "delta",
    "status",
    "msg",
    "loc",
    "retryDelay",
    "violations",
    "quotaId",
    "innererror",
]
WORDS = ("text", "image_url", "thinking", "refusal", "function", "stop", "assistant", "38s")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(WORDS)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
        | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=20,
)
ANSWERS = JSON | st.builds(
    lambda message, rest: {**rest, "choices": [{"message": message}]},
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5),
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=3),
)


@given(ANSWERS)
def test_any_json_is_a_completion_or_an_engine_error(answer: Any) -> None:
    try:
        completion = decode_completion(answer)
    except EngineError:
        return
    json.dumps(completion.message.to_dict())

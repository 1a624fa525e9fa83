"""The quick way of reading an answer gives what the long one gives, or leaves it to that."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oumi_core.wire import decode_common, decode_completion

PLAIN = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "m-2026",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
OPENAI = {
    **PLAIN,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Paris.",
                "refusal": None,
                "annotations": [],
            },
            "logprobs": {"content": [{"token": "Paris", "logprob": -0.1}], "refusal": None},
            "finish_reason": "length",
        }
    ],
    "usage": {
        **PLAIN["usage"],  # type: ignore[dict-item] # it is a dict
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 1,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
VLLM = {
    **PLAIN,
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Paris.",
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "tool_calls": [],
                "reasoning": None,
                "reasoning_content": None,
            },
            "logprobs": None,
            "finish_reason": "stop",
            "stop_reason": None,
            "token_ids": None,
        }
    ],
    "usage": {**PLAIN["usage"], "prompt_tokens_details": None},  # type: ignore[dict-item] # as above
    "prompt_logprobs": None,
    "kv_transfer_params": None,
}
BARE = {"choices": [{"message": {"content": ""}}]}


@pytest.mark.parametrize("body", [PLAIN, OPENAI, VLLM, BARE])
@pytest.mark.parametrize("request_id", [None, "req-1"])
def test_the_usual_answers_go_the_quick_way(body: Any, request_id: str | None) -> None:
    quick = decode_common(json.dumps(body).encode(), request_id=request_id)
    assert quick is not None
    assert quick == decode_completion(body, request_id=request_id)


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{", b'{"choices":[]}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_answer_is_left_to_the_long_way(body: bytes) -> None:
    assert decode_common(body) is None


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from([0.0, 1.0, 2**70, "", "x", "stop", "assistant"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["content", "error", "cached_tokens", "type", "text"]),
            inner,
            max_size=2,
        )
    ),
    max_leaves=4,
)


COUNTS = st.integers(0, 9)
DETAILS = st.fixed_dictionaries(
    {}, optional={"cached_tokens": COUNTS, "reasoning_tokens": COUNTS, "audio_tokens": COUNTS}
)
USAGE = st.fixed_dictionaries(
    {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
    optional={
        "total_tokens": COUNTS,
        "prompt_tokens_details": st.none() | DETAILS,
        "completion_tokens_details": st.none() | DETAILS,
    },
)
MESSAGE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"content": st.text(max_size=3)},
    optional={
        "role": st.just("assistant"),
        "annotations": st.sampled_from([None, []]),
        "tool_calls": st.sampled_from([None, []]),
        **dict.fromkeys(
            ("refusal", "function_call", "audio", "reasoning", "reasoning_content"), st.none()
        ),
    },
)
CHOICE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"message": MESSAGE},
    optional={
        "finish_reason": st.sampled_from(["stop", "LENGTH", "eos", "what", None]),
        "logprobs": st.sampled_from([None, {"content": []}]),
        "error": st.none(),
        "index": st.just(0),
    },
)
COMMON = st.fixed_dictionaries(
    {"choices": st.tuples(CHOICE).map(list)},
    optional={
        "usage": st.none() | USAGE,
        "model": st.text(max_size=2),
        "id": st.text(max_size=2),
        "error": st.none(),
        "detail": st.text(max_size=2),
        "object": st.sampled_from(["chat.completion", "error"]),
    },
)
NAMES = st.sampled_from(
    [
        *("choices", "message", "content", "role", "refusal", "annotations", "tool_calls", "audio"),
        *("function_call", "reasoning", "reasoning_content", "finish_reason", "logprobs", "error"),
        *("usage", "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "model"),
        *("prompt_tokens_details", "completion_tokens_details", "reasoning_tokens", "id", "prefix"),
        *("prompt_cache_hit_tokens", "cache_creation_tokens", "detail"),
    ]
)
CHANGES = st.lists(st.tuples(st.integers(0, 9), NAMES, ANYTHING), max_size=2)


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """All objects of a body, from the outside in."""
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from objects_in(one)


def changed(body: dict[str, Any], changes: list[tuple[int, str, Any]]) -> dict[str, Any]:
    """The body with fields put into its objects, over those of that name."""
    body = json.loads(json.dumps(body))
    for at, name, value in changes:
        objects = list(objects_in(body))
        objects[at % len(objects)][name] = value
    return body


@given(COMMON, st.none() | st.just("req-1"))
def test_both_ways_agree_on_a_common_answer(body: Any, request_id: str | None) -> None:
    quick = decode_common(json.dumps(body).encode(), request_id=request_id)
    assert quick is not None
    assert quick == decode_completion(body, request_id=request_id)


@given(st.builds(changed, COMMON, CHANGES))
@example({"choices": [{"message": {"content": "x", "annotations": ["kept"]}}]})
@example({"choices": [{"message": {"content": "x"}}], "usage": {"total_tokens": 3}})
@example({"choices": [{"message": {"content": "x"}, "error": {"message": "no"}}]})
def test_the_quick_way_never_says_something_else(body: Any) -> None:
    quick = decode_common(json.dumps(body).encode())
    if quick is not None:
        assert quick == decode_completion(body)


def test_a_field_that_comes_twice_counts_as_it_does_elsewhere() -> None:
    text = (
        b'{"choices":[{"message":{"content":"a","content":"b"}}],"model":"x","model":"y",'
        b'"usage":{"prompt_tokens":1,"prompt_tokens":2,"completion_tokens":3}}'
    )
    assert decode_common(text) == decode_completion(json.loads(text))

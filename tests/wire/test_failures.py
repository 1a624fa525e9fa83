from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.types import FailureKind
from oumi_core.wire import failure_from_error, masked

K = FailureKind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, K.BAD_REQUEST),
        (400, K.BAD_REQUEST),
        (401, K.AUTH),
        (402, K.QUOTA),
        (403, K.AUTH),
        (404, K.NOT_FOUND),
        (405, K.BAD_REQUEST),
        (408, K.TRANSIENT),
        (409, K.TRANSIENT),
        (413, K.BAD_REQUEST),
        (422, K.BAD_REQUEST),
        (429, K.RATE_LIMIT),
        (500, K.TRANSIENT),
        (502, K.TRANSIENT),
        (503, K.TRANSIENT),
        (504, K.TRANSIENT),
        (529, K.RATE_LIMIT),
        (None, K.TRANSIENT),
    ],
)
def test_a_status_alone_decides_where_the_body_says_nothing(
    status: int | None, kind: FailureKind
) -> None:
    bodies: list[Any] = [None, "", {}, [], {"error": {}}, {"error": None}]
    for body in bodies:
        failure = failure_from_error(status, body)
        assert (failure.kind, failure.status) == (kind, status)
        assert failure.message


def openai(message: str, type_: str | None = None, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


MINUTE = {
    "error": {
        "code": 429,
        "status": "RESOURCE_EXHAUSTED",
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "details": [
            {"@type": "x/QuotaFailure", "violations": [{"quotaId": "RequestsPerMinutePerModel"}]},
            {"@type": "x/RetryInfo", "retryDelay": "38s"},
        ],
    }
}
DAY = {
    "error": {
        **MINUTE["error"],
        "details": [{"@type": "x/QuotaFailure", "violations": [{"quotaId": "RequestsPerDay"}]}],
    }
}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        # OpenAI
        (429, openai("m", "requests", "rate_limit_exceeded"), K.RATE_LIMIT, "rate_limit_exceeded"),
        (429, openai("m", "insufficient_quota"), K.QUOTA, "insufficient_quota"),
        (
            429,
            openai("m", "insufficient_quota", "credit_balance_exhausted"),
            K.QUOTA,
            "credit_balance_exhausted",
        ),
        (
            429,
            openai("m", None, "organization_spend_limit_exceeded"),
            K.QUOTA,
            "organization_spend_limit_exceeded",
        ),
        (
            429,
            openai("see /account/billing to add one", "tokens", "rate_limit_exceeded"),
            K.RATE_LIMIT,
            "rate_limit_exceeded",
        ),
        (429, openai("You exceeded your current quota", "new_word"), K.QUOTA, "new_word"),
        (429, openai("slow", "requests", "slow_down"), K.RATE_LIMIT, "slow_down"),
        (503, openai("m", "server_error", "server_is_overloaded"), K.RATE_LIMIT, None),
        (400, openai("m", "invalid_request_error", "context_length_exceeded"), K.BAD_REQUEST, None),
        (401, openai("m", "invalid_request_error", "invalid_api_key"), K.AUTH, "invalid_api_key"),
        (404, openai("m", "invalid_request_error", "model_not_found"), K.NOT_FOUND, None),
        (404, openai("m", "invalid_request_error"), K.NOT_FOUND, "invalid_request_error"),
        (400, openai("We could not parse the JSON body of your request."), K.TRANSIENT, None),
        (400, openai("m", None, "content_policy_violation"), K.CONTENT_FILTER, None),
        # Azure
        (400, openai("m", None, "content_filter"), K.CONTENT_FILTER, "content_filter"),
        (
            400,
            {
                "error": {
                    "code": "BadRequest",
                    "message": "m",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            K.CONTENT_FILTER,
            "BadRequest",
        ),
        (429, openai("see https://aka.ms/oai/quotaincrease", None, "429"), K.RATE_LIMIT, None),
        # Anthropic
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, K.RATE_LIMIT, None),
        (402, {"type": "error", "error": {"type": "billing_error"}}, K.QUOTA, "billing_error"),
        (429, openai("m", "enforced_spend_limit_reached"), K.QUOTA, None),
        # Gemini
        (429, [MINUTE], K.RATE_LIMIT, "RESOURCE_EXHAUSTED"),
        (429, [DAY], K.QUOTA, "RESOURCE_EXHAUSTED"),
        (
            503,
            [
                {
                    "error": {
                        "code": 503,
                        "message": "The model is overloaded.",
                        "status": "UNAVAILABLE",
                    }
                }
            ],
            K.RATE_LIMIT,
            "UNAVAILABLE",
        ),
        # vLLM
        (
            400,
            {"object": "error", "message": "too long", "type": "BadRequestError", "code": 400},
            K.BAD_REQUEST,
            "BadRequestError",
        ),
        (404, openai("no model x", "NotFoundError", 404), K.NOT_FOUND, "NotFoundError"),
        (503, openai("The queue is full", "QueueOverflow", 503), K.RATE_LIMIT, "QueueOverflow"),
        (501, openai("no images", "not_supported_error", 501), K.BAD_REQUEST, None),
        # llama.cpp
        (None, openai("too long", "exceed_context_size_error", 400), K.BAD_REQUEST, None),
        (503, openai("Loading model", "unavailable_error", 503), K.TRANSIENT, None),
        # nginx
        (
            503,
            "<html><head><title>503 Service Unavailable</title></head></html>",
            K.TRANSIENT,
            None,
        ),
        # without a status, or with one that says nothing
        (None, openai("m", None, 429), K.RATE_LIMIT, None),
        (200, openai("m", None, "503"), K.TRANSIENT, None),
        (None, openai("m", "invalid_request_error"), K.BAD_REQUEST, "invalid_request_error"),
        (None, openai("m", "server_error"), K.TRANSIENT, "server_error"),
        (None, {"error": {"status": "RESOURCE_EXHAUSTED"}}, K.RATE_LIMIT, "RESOURCE_EXHAUSTED"),
    ],
)
def test_words_of_the_server_say_more_than_its_status(
    status: int | None, body: Any, kind: FailureKind, code: str | None
) -> None:
    failure = failure_from_error(status, body)
    assert failure.kind is kind
    assert code is None or failure.code == code


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "m"}}, "m"),
        ({"error": "m"}, "m"),
        ({"message": "m"}, "m"),
        ({"detail": "m"}, "m"),
        ({"detail": [{"loc": ["body", "n"], "msg": "m", "input": "secret"}]}, "body.n: m"),
        ({"detail": [{"msg": "a"}, {"msg": "b"}]}, "a; b"),
        ([{"error": {"message": "m"}}], "m"),
        ("m\n  and\tmore ", "m and more"),
        (b"m", "m"),
        (b"\xff", "\ufffd"),
        ("<html><title>\n502 Bad Gateway</title><body>..</body></html>", "502 Bad Gateway"),
        ("x" * 400, "x" * 297 + "..."),
        (None, "the server answered HTTP 500 and gave no reason"),
        ({"error": {"message": 7}}, "the server answered HTTP 500 and gave no reason"),
    ],
)
def test_the_message_is_the_servers_in_one_line(body: Any, message: str) -> None:
    assert failure_from_error(500, body).message == message


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        (None, None, None),
        (2.5, None, 2.5),
        (None, [MINUTE], 38.0),
        (2.5, [MINUTE], 38.0),
        (60.0, [MINUTE], 60.0),
        (None, {"error": {"details": [{"retryDelay": "1.5s"}]}}, 1.5),
        (None, {"error": {"details": [{"retryDelay": "soon"}]}}, None),
        (None, {"error": {"details": [7, {"violations": [7]}, {"retryDelay": "2s"}]}}, 2.0),
    ],
)
def test_the_longest_wait_that_the_server_asks_for_counts(
    headers: float | None, body: Any, wait: float | None
) -> None:
    assert failure_from_error(429, body, retry_after=headers).retry_after == wait


def test_the_request_id_is_kept() -> None:
    assert failure_from_error(500, None, request_id="req_1").request_id == "req_1"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect key: sk-proj-abc123DEF456.", "Incorrect key: sk-***"),
        ("Incorrect API key provided: my****key. See", "Incorrect API key provided: *** See"),
        ("header 'Authorization: Bearer abc.def-1'", "header 'Authorization: Bearer ***'"),
        ('{"api_key": "0123"}', '{"api_key": "***"}'),
        ("token hf_abcdefghijkl", "token hf_***"),
        ("AIzaSyA-0123456789", "AIza***"),
        ("skateboarding needs no apikey", "skateboarding needs no apikey"),
        ("the task-forced risk-adjusted sk-learn", "the task-forced risk-adjusted sk-learn"),
    ],
)
def test_keys_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert failure_from_error(401, {"error": {"message": text}}).message == shown


@given(st.integers(min_value=0, max_value=310))
def test_no_part_of_a_key_is_left_where_the_message_is_cut(at: int) -> None:
    message = failure_from_error(401, "x " * (at // 2) + "sk-" + "k" * 40).message
    assert "kk" not in message
    assert len(message) <= 300

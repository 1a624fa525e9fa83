import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oumi_core.types import FailureKind
from oumi_core.wire import BatchLine, decode_batch_line, encode_batch_line

ANSWER = {"id": "c1", "choices": [{"message": {"content": "Paris."}, "finish_reason": "stop"}]}


def line(response: Any = None, error: Any = None, **rest: Any) -> bytes:
    data = {"id": "b1", "custom_id": "row-1", "response": response, "error": error, **rest}
    return json.dumps(data).encode()


def answered(status: Any, body: Any) -> dict[str, Any]:
    return {"status_code": status, "request_id": "req_1", "body": body}


def test_a_request_as_a_line() -> None:
    text = encode_batch_line("row-1", {"model": "m", "messages": []})
    assert text == (
        b'{"custom_id":"row-1","method":"POST","url":"/v1/chat/completions",'
        b'"body":{"model":"m","messages":[]}}\n'
    )


@given(st.text(), st.dictionaries(st.text(), st.text()))
@example("row", {"prompt": "one\u2028two\u2029three\x85four\x0bfive\x1csix"})
def test_a_request_is_always_one_line(custom_id: str, body: dict[str, str]) -> None:
    text = encode_batch_line(custom_id, body, url="/v1/x")
    assert text.count(b"\n") == 1
    assert len(text.decode().splitlines()) == 1
    assert json.loads(text)["body"] == body
    assert json.loads(text)["custom_id"] == custom_id


def test_an_answer() -> None:
    found = decode_batch_line(line(answered(200, ANSWER)))
    assert found.custom_id == "row-1"
    assert found.failure is None
    assert found.completion is not None
    assert found.completion.text == "Paris."
    assert found.completion.request_id == "req_1"


REFUSED = {"error": {"message": "too long", "type": "x", "code": "context_length_exceeded"}}


@pytest.mark.parametrize(
    ("text", "kind", "status"),
    [
        (line(answered(400, REFUSED)), FailureKind.BAD_REQUEST, 400),
        (line(answered(429, {"error": {"message": "m"}})), FailureKind.RATE_LIMIT, 429),
        (line(answered(500, None)), FailureKind.TRANSIENT, 500),
        (line(answered(200, {"error": {"message": "m", "code": 503}})), FailureKind.TRANSIENT, 503),
        (line(answered(200, {})), FailureKind.TRANSIENT, None),
        (line(answered(200, None)), FailureKind.TRANSIENT, None),
        (line(answered(200, ANSWER), {"message": "m"}), FailureKind.TRANSIENT, 200),
        (line(answered(400, None), {"message": "m"}), FailureKind.BAD_REQUEST, 400),
        (line(None, {"code": "batch_expired", "message": "m"}), FailureKind.EXPIRED, None),
        (line(None, {"code": "batch_cancelled", "message": "m"}), FailureKind.CANCELED, None),
        (line(None, {"code": "new", "message": "m"}), FailureKind.TRANSIENT, None),
        (line(None, "broken"), FailureKind.TRANSIENT, None),
        (line(), FailureKind.MISSING, None),
        (line(answered("200", ANSWER)), FailureKind.TRANSIENT, None),
        (b'{"custom_id":"row-1"}', FailureKind.MISSING, None),
    ],
)
def test_rows_without_an_answer(text: bytes, kind: FailureKind, status: int | None) -> None:
    found = decode_batch_line(text)
    assert found.custom_id == "row-1"
    assert found.completion is None
    assert found.failure is not None
    assert (found.failure.kind, found.failure.status) == (kind, status)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"custom_id":"row-1","resp',
        b"[]",
        b"7",
        b"\xff",
        b"[" * 9999,
        '{"a":1,"custom_id":7}',
    ],
)
def test_a_torn_or_foreign_line_belongs_to_no_row(text: bytes | str) -> None:
    found = decode_batch_line(text)
    assert found.custom_id is None
    assert found.completion is None
    assert found.failure is not None
    assert found.failure.retryable


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"custom_id": "r", "resp', "not JSON: it breaks off"),
        (b'{"custom_id": "caf\xe9"}', "not UTF-8: 'utf-8' codec can't decode byte 0xe9"),
        (b"[" * 9999, "nested too deeply"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(text: bytes, why: str) -> None:
    failure = decode_batch_line(text).failure
    assert failure is not None
    assert why in failure.message


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_any_line_is_read_without_raising(text: bytes | str) -> None:
    assert isinstance(decode_batch_line(text), BatchLine)


def test_the_reason_is_taken_from_where_it_stands() -> None:
    def reason(text: bytes) -> str:
        failure = decode_batch_line(text).failure
        assert failure is not None
        return failure.message

    assert reason(line(answered(400, REFUSED), {"message": "other"})) == "too long"
    assert reason(line(answered(400, None), {"message": "m"})) == "m"
    assert reason(line(answered(200, ANSWER), {"message": "m"})) == "m"
    assert reason(line(None, {"code": "batch_expired", "message": "m"})) == "m"

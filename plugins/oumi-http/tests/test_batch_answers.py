"""What servers say of batches, in each of the forms that were seen of them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oumi_core.batching.status import BatchError, BatchStatus, RequestCounts
from oumi_core.errors import EngineError
from oumi_core.types.failure import FailureKind

from oumi_http.batch_answers import part_page, part_status, stored_id

BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "errors": None,
    "input_file_id": "file-in",
    "completion_window": "24h",
    "status": "completed",
    "output_file_id": "file-out",
    "error_file_id": "file-err",
    "created_at": 1_711_471_533,
    "expires_at": 1_711_557_933,
    "request_counts": {"total": 100, "completed": 95, "failed": 5},
    "metadata": {"oumi_token": "t-1", "customer": "acme"},
}


def test_a_whole_batch() -> None:
    part = part_status(BATCH)
    assert part.handle == "batch_1"
    assert part.status is BatchStatus.COMPLETED
    assert part.is_terminal
    assert part.counts == RequestCounts(100, 95, 5)
    assert part.errors == ()
    assert part.token == "t-1"  # noqa: S105 - no secret
    assert (part.created_at, part.expires_at) == (1_711_471_533.0, 1_711_557_933.0)
    assert (part.output_file_id, part.error_file_id) == ("file-out", "file-err")


@pytest.mark.parametrize(
    ("word", "status", "ended"),
    [
        ("validating", BatchStatus.VALIDATING, False),
        ("in_progress", BatchStatus.IN_PROGRESS, False),
        ("finalizing", BatchStatus.FINALIZING, False),
        ("completed", BatchStatus.COMPLETED, True),
        ("COMPLETED", BatchStatus.COMPLETED, True),  # Together's
        ("failed", BatchStatus.FAILED, True),
        ("expired", BatchStatus.EXPIRED, True),
        ("cancelling", BatchStatus.CANCELLING, False),
        ("cancelled", BatchStatus.CANCELLED, True),
        ("paused_by_moon", "paused_by_moon", False),
    ],
)
def test_states(word: str, status: str, *, ended: bool) -> None:
    part = part_status({**BATCH, "status": word})
    assert part.status == status
    assert part.is_terminal is ended


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (None, None),  # a batch that was refused as a whole
        ({}, RequestCounts()),
        ({"total": 7, "completed": None, "failed": -1}, RequestCounts(7)),
        ("many", None),
    ],
)
def test_counts_that_are_not_all_there(counts: Any, expected: RequestCounts | None) -> None:
    assert part_status({**BATCH, "request_counts": counts}).counts == expected


@pytest.mark.parametrize("nothing", ["", None, 0, {}])
def test_a_file_that_is_not_there(nothing: Any) -> None:
    part = part_status({**BATCH, "output_file_id": nothing, "error_file_id": nothing})
    assert part.output_file_id is None
    assert part.error_file_id is None


@pytest.mark.parametrize("metadata", [None, {}, {"oumi_token": ""}, {"oumi_token": 1}, "none"])
def test_a_batch_of_somebody_else_has_no_token(metadata: Any) -> None:
    assert part_status({**BATCH, "metadata": metadata}).token is None


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (None, ()),
        ({"object": "list", "data": None}, ()),
        ({"data": []}, ()),
        (
            {
                "object": "list",
                "data": [
                    {
                        "code": "duplicate_custom_id",
                        "line": 3,
                        "message": "The custom_id 'a' is used twice.",
                        "param": "custom_id",
                    },
                    {"code": "invalid_json_line", "line": 4, "message": "No JSON.", "param": None},
                ],
            },
            (
                BatchError("The custom_id 'a' is used twice.", "duplicate_custom_id", 3),
                BatchError("No JSON.", "invalid_json_line", 4),
            ),
        ),
        (
            {
                "data": [
                    {
                        "code": "token_limit_exceeded",
                        "line": None,
                        "message": "Enqueued token limit reached for gpt-4o.",
                    }
                ]
            },
            (BatchError("Enqueued token limit reached for gpt-4o.", "token_limit_exceeded"),),
        ),
        (
            [{"message": "no access with the key sk-abcdefghijkl"}, "what?"],
            (BatchError("no access with the key sk-***"),),
        ),
    ],
)
def test_errors_of_the_batch_itself(errors: Any, expected: tuple[BatchError, ...]) -> None:
    assert part_status({**BATCH, "status": "failed", "errors": errors}).errors == expected


def test_an_error_that_comes_with_status_200() -> None:
    # Seen where a batch was kept no longer.
    with pytest.raises(EngineError, match="No batch found") as caught:
        part_status({"error": {"message": "No batch found.", "code": "not_found"}})
    assert caught.value.failure.kind is FailureKind.NOT_FOUND


@pytest.mark.parametrize("data", [None, [], "batch_1", {}, {"id": "b"}, {"id": "", "status": "x"}])
def test_what_is_no_batch(data: Any) -> None:
    with pytest.raises(EngineError, match="expected a batch") as caught:
        part_status(data)
    assert caught.value.failure.kind is FailureKind.TRANSIENT


def test_the_id_of_what_was_stored() -> None:
    assert stored_id({"id": "file-1", "status": "processed"}, "file") == "file-1"
    with pytest.raises(EngineError, match="expected an id of the file"):
        stored_id({"id": None}, "file")
    with pytest.raises(EngineError, match="too large"):
        stored_id({"error": {"message": "too large"}}, "file")


@pytest.mark.parametrize(
    ("page", "handles", "following"),
    [
        ({"data": [BATCH], "has_more": False, "last_id": "batch_1"}, ["batch_1"], None),
        ({"data": [BATCH], "has_more": True, "last_id": "batch_9"}, ["batch_1"], "batch_9"),
        ({"data": [BATCH], "has_more": True}, ["batch_1"], "batch_1"),
        ({"data": [{"id": "x"}, BATCH, None]}, ["batch_1"], None),
        ({"data": [], "has_more": True}, [], None),
    ],
)
def test_pages(page: Any, handles: list[str], following: str | None) -> None:
    read = part_page(page)
    assert [part.handle for part in read.parts] == handles
    assert read.following == following


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(data=ANY_JSON)
def test_any_answer_is_read_or_is_an_engine_error(data: Any) -> None:
    for read in (part_status, part_page, lambda data: stored_id(data, "file")):
        with contextlib.suppress(EngineError):
            read(data)


@given(fields=st.fixed_dictionaries({}, optional=dict.fromkeys(BATCH, ANY_JSON)))
def test_no_field_of_a_batch_can_break_it(fields: dict[str, Any]) -> None:
    part = part_status({**BATCH, **fields, "id": "batch_1", "status": "completed"})
    assert part.handle == "batch_1"
    assert part.output_file_id is None or part.output_file_id

"""How long each combination of headers asks to wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_http.hints import request_id, retry_after

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = NOW + timedelta(seconds=90)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": format_datetime(LATER, usegmt=True)}, 90),
        ({"retry-after": format_datetime(NOW - timedelta(1), usegmt=True)}, None),
        ({"retry-after": LATER.isoformat()}, 90),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "2"}, 2),
        ({"retry-after-ms": "-1", "retry-after": "2"}, 2),
        (
            {
                "retry-after": "2",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "9s",
            },
            2,
        ),
    ],
)
def test_the_first_hint_that_says_something_holds(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("59.8s", 59.8),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("1d", 86_400),
        ("120ms", 0.12),
        ("2m", 120),
        ("7", 7),
        ("0", None),
        ("0s", None),
        ("-1", None),
        ("", None),
        ("a while", None),
        (LATER.isoformat(), 90),
        (LATER.isoformat().replace("+00:00", "Z"), 90),
        (str(int(LATER.timestamp())), 90),
        (str(int(LATER.timestamp() * 1000)), 90),
    ],
)
def test_the_reset_of_an_exhausted_limit_is_read_in_every_form(
    reset: str, seconds: float | None
) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
    assert retry_after(headers, NOW) == seconds


@pytest.mark.parametrize("remaining", ["1", "-1", "many", ""])
def test_a_limit_that_is_not_exhausted_says_nothing(remaining: str) -> None:
    headers = {"x-ratelimit-remaining-tokens": remaining, "x-ratelimit-reset-tokens": "5s"}
    assert retry_after(headers, NOW) is None


def test_of_several_exhausted_limits_the_latest_counts() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": LATER.isoformat(),
    }
    assert retry_after(headers, NOW) == 360


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=20)))
def test_no_header_breaks_it(headers: dict[str, str]) -> None:
    found = retry_after(headers, NOW)
    assert found is None or found > 0


@given(reset=st.text(max_size=20))
def test_no_reset_breaks_it(reset: str) -> None:
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    found = retry_after(headers, NOW)
    assert found is None or found > 0


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"x-request-id": "a", "cf-ray": "b"}, "a"),
        ({"request-id": "c"}, "c"),
        ({"apim-request-id": "d"}, "d"),
        ({"x-request-id": "", "cf-ray": "e"}, "e"),
        ({}, None),
    ],
)
def test_the_request_has_the_id_of_the_server(headers: dict[str, str], found: str | None) -> None:
    assert request_id(headers) == found

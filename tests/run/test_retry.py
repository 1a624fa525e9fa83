"""What the policies decide: tables, no clock, no waiting."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.configs import RemoteParams
from oumi_core.run.retry import (
    GiveUp,
    History,
    NoRetryPolicy,
    Retry,
    StandardRetryPolicy,
    StopRun,
)
from oumi_core.types import Failure, FailureKind

FRESH = History(
    started=0.0, retries=0, rate_limited=0, succeeded=5, failed_in_a_row=1, budget_left=True
)


def failure(kind: FailureKind | str, **fields: Any) -> Failure:
    return Failure(FailureKind(kind), "as told", **fields)


def longest(_low: float, high: float) -> float:
    return high


def shortest(low: float, _high: float) -> float:
    return low


def standard(uniform: Any = longest, **params: Any) -> StandardRetryPolicy:
    return StandardRetryPolicy(RemoteParams(**params), uniform)


@pytest.mark.parametrize(
    ("met", "history", "expected"),
    [
        (failure("auth", status=401), {}, StopRun()),
        (failure("auth", status=403), {"succeeded": 0}, StopRun()),
        (failure("auth", status=403), {}, GiveUp()),
        (failure("auth", status=403), {"alike_in_a_row": 3}, StopRun()),
        (failure("auth", status=403), {"failed_in_a_row": 9, "alike_in_a_row": 2}, GiveUp()),
        (failure("quota", status=429), {}, StopRun()),
        (failure("quota", status=402), {}, StopRun()),
        (failure("engine_dead"), {}, StopRun()),
        (failure("not_found", status=404), {"succeeded": 0}, StopRun()),
        (failure("not_found", status=404), {}, GiveUp()),
        (failure("not_found", status=404), {"alike_in_a_row": 3}, StopRun()),
        (failure("not_found", status=404), {"failed_in_a_row": 9, "alike_in_a_row": 1}, GiveUp()),
        (failure("bad_request", status=400), {"succeeded": 0}, GiveUp()),
        (failure("bad_request", status=422), {"failed_in_a_row": 9}, GiveUp()),
        (failure("content_filter"), {}, GiveUp()),
        (failure("refusal"), {}, GiveUp()),
        (failure("truncated"), {}, GiveUp()),
        (failure("invalid_output"), {}, GiveUp()),
        (failure("internal"), {}, GiveUp()),
        (failure("transient", status=500), {}, Retry(1.0)),
        (failure("transient", status=500), {"retries": 1}, Retry(2.0)),
        (failure("transient", status=500), {"retries": 2}, Retry(4.0)),
        (failure("transient", status=500), {"retries": 3}, GiveUp()),
        (failure("timeout"), {"retries": 2}, Retry(4.0)),
        (failure("transient", retry_after=20), {}, Retry(22.0)),
        (failure("transient"), {"budget_left": False}, GiveUp()),
        (failure("transient"), {"failed_in_a_row": 19, "retries": 3}, GiveUp()),
        (failure("transient"), {"failed_in_a_row": 20, "retries": 3}, Retry(1.0, shared=True)),
        (failure("timeout"), {"failed_in_a_row": 20, "rate_limited": 2}, Retry(4.0, shared=True)),
        (failure("transient", retry_after=20), {"failed_in_a_row": 20}, Retry(22.0, shared=True)),
        (failure("rate_limit", status=429), {}, Retry(1.0, shared=True)),
        (failure("rate_limit", retry_after=2), {}, Retry(2.2, shared=True)),
        (failure("rate_limit", retry_after=2), {"retries": 3}, Retry(2.2, shared=True)),
        (failure("rate_limit"), {"rate_limited": 9}, Retry(30.0, shared=True)),
        (failure("rate_limit"), {"rate_limited": 9999}, Retry(30.0, shared=True)),
    ],
)
def test_standard(met: Failure, history: dict[str, Any], expected: object) -> None:
    assert standard().decide(met, attrs.evolve(FRESH, **history), 10.0) == expected


@pytest.mark.parametrize("kind", ["rate_limit", "transient", "timeout"])
@pytest.mark.parametrize("history", [{}, {"retries": 3}, {"budget_left": False}])
def test_a_hint_beyond_the_cap_stops_the_run_and_says_when_to_come_back(
    kind: str, history: dict[str, Any]
) -> None:
    met = failure(kind, retry_after=3600)
    decision = standard().decide(met, attrs.evolve(FRESH, **history), 0.0)
    assert isinstance(decision, StopRun)
    assert "wait 3600 s" in (decision.reason or "")


def test_a_dead_server_stops_the_run_when_the_budget_is_used_up() -> None:
    history = attrs.evolve(FRESH, budget_left=False, failed_in_a_row=50, succeeded=0)
    assert isinstance(standard().decide(failure("transient"), history, 0.0), StopRun)


def test_a_server_that_answered_before_is_waited_for_and_not_for_ever() -> None:
    history = attrs.evolve(FRESH, budget_left=False, failed_in_a_row=50, failing_since=100.0)

    assert standard().decide(failure("transient"), history, 400.0) == Retry(1.0, shared=True)

    decision = standard().decide(failure("transient"), history, 401.0)
    assert isinstance(decision, StopRun)
    assert "answered nothing for 301 s (50 attempts)" in (decision.reason or "")


@pytest.mark.parametrize(
    ("history", "stops"),
    [
        ({"failed_in_a_row": 50, "succeeded": 0}, True),
        ({"failed_in_a_row": 49, "succeeded": 0}, False),
        ({"failed_in_a_row": 50, "succeeded": 1}, False),
    ],
)
def test_requests_that_are_all_wrong_stop_the_run(history: dict[str, Any], *, stops: bool) -> None:
    decision = standard().decide(failure("bad_request"), attrs.evolve(FRESH, **history), 0.0)
    assert isinstance(decision, StopRun) is stops


@pytest.mark.parametrize(
    ("failed", "now", "stops"), [(50, 99.5, True), (50, 95.0, False), (49, 99.5, False)]
)
def test_a_server_that_never_lets_anything_through_stops_the_run_at_the_deadline_of_a_row(
    failed: int, now: float, *, stops: bool
) -> None:
    policy = standard(row_deadline=100.0)
    history = attrs.evolve(FRESH, started=0.0, failed_in_a_row=failed)
    decision = policy.decide(failure("rate_limit", retry_after=1), history, now)
    assert isinstance(decision, StopRun) is stops


def test_politeness_is_the_least_wait_after_any_error() -> None:
    policy = standard(shortest, politeness_policy=60.0)
    assert policy.decide(failure("transient"), FRESH, 0.0) == Retry(60.0)
    assert policy.decide(failure("rate_limit"), FRESH, 0.0) == Retry(60.0, shared=True)


@given(
    st.floats(0, 120), st.integers(0, 2), st.integers(0, 10**6), st.sampled_from(list(FailureKind))
)
def test_no_wait_is_ever_shorter_than_the_hint(
    hint: float, retries: int, rate_limited: int, kind: FailureKind
) -> None:
    policy = StandardRetryPolicy(RemoteParams(row_deadline=None))
    history = attrs.evolve(FRESH, retries=retries, rate_limited=rate_limited)
    decision = policy.decide(failure(kind, retry_after=hint), history, 0.0)
    if isinstance(decision, Retry):
        assert hint <= decision.after <= max(hint * 1.1, 30.0)


def test_none_sends_nothing_twice_and_stops_for_account_errors() -> None:
    policy = NoRetryPolicy(RemoteParams())
    assert policy.decide(failure("transient"), FRESH, 0.0) == GiveUp()
    assert policy.decide(failure("rate_limit", retry_after=1), FRESH, 0.0) == GiveUp()
    assert policy.decide(failure("quota"), FRESH, 0.0) == StopRun()

"""What becomes of the rows of a run while the server fails."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import oumi_core as oumi
import pytest
from oumi_core.configs import InferenceConfig, ModelParams, RemoteParams
from oumi_core.testing import (
    Ending,
    FaultServer,
    close_early,
    completion,
    cut_body,
    error,
    raw,
    slow_drip,
    stall,
    too_many,
)
from oumi_core.types.conversation import Conversation, Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oumi_core.inference import InferenceEngine
    from oumi_core.run.run import Run
    from oumi_core.testing import Received, Reply
    from oumi_core.testing.replies import Entry
    from oumi_core.types.result import Result

PAGE = "<!DOCTYPE html><title>Sign in to the proxy</title>"


def engine_for(server: FaultServer, **remote: Any) -> InferenceEngine:
    params = {"api_url": server.url, "api_key": "sk-test", "retry_backoff_base": 0.01, **remote}
    config = InferenceConfig(
        model=ModelParams(model_name="m"),
        remote_params=RemoteParams(**{"retry_backoff_max": 0.1, **params}),
    )
    return oumi.get_engine("remote", config)


def rows(count: int) -> list[Conversation]:
    return [Conversation([Message(Role.USER, f"row {number}")]) for number in range(count)]


def outcome(
    server: FaultServer, count: int, output: Path | None = None, **remote: Any
) -> tuple[list[Result], Run]:
    """Results in input order, and the run."""
    with engine_for(server, **remote) as engine:
        run = engine.run(rows(count), output_path=output)
        return sorted(run, key=lambda result: result.index), run


def first_time(
    fault: Entry, text: str | None = None, times: int = 1
) -> Callable[[Received], Entry]:
    """Each row, or the one with this text, meets the fault so many times, and is then answered."""
    seen: dict[str, int] = {}

    def answer(request: Received) -> Entry:
        asked = request.last_text
        seen[asked] = seen.get(asked, 0) + 1
        return fault if seen[asked] <= times and text in {None, asked} else completion()

    return answer


@pytest.mark.parametrize(
    "fault",
    [
        stall(),
        close_early(),
        cut_body(),
        raw('{"choices": [{"mess'),
        raw(PAGE, content_type="text/html"),
        slow_drip(pause=0.5),
        raw('{"choices": []}', ending=Ending.HANG),
        error(500),
        error(503),
        error(408),
    ],
    ids=lambda fault: getattr(fault, "status", None),
)
def test_a_fault_that_passes_costs_one_more_attempt_and_no_row(fault: Entry) -> None:
    at_once: dict[str, Any] = {"num_workers": 10, "use_adaptive_concurrency": False}
    with FaultServer(then=first_time(fault)) as server:
        results, run = outcome(server, 10, connection_timeout=1.0, **at_once)
    assert [result.text for result in results] == [f"row {number}" for number in range(10)]
    assert {result.attempts for result in results} == {2}
    assert len(server.requests) == 20
    assert run.stopped() is None


def limited_until_whole_second(_: Received) -> Reply:
    """With a date, which has no fractions: the next but one, so that at least a second is left."""
    return too_many(datetime.now(UTC) + timedelta(seconds=2))


@pytest.mark.parametrize(
    ("limit", "least"),
    [
        (too_many(0.3), 0.3),
        (too_many(9, retry_after_ms=300), 0.3),
        (
            too_many(
                headers={
                    "x-ratelimit-remaining-requests": "0",
                    "x-ratelimit-reset-requests": "300ms",
                }
            ),
            0.3,
        ),
        (limited_until_whole_second, 1),
        pytest.param(too_many(2), 2, marks=pytest.mark.slow),
    ],
)
def test_a_server_that_asks_to_wait_is_left_alone_by_everybody(limit: Entry, least: float) -> None:
    # How much longer than that is for a clock that no load slows: core's tests of the governor.
    times = 1 if limit is limited_until_whole_second else 3
    answer = first_time(limit, "row 0", times)
    with FaultServer(then=answer) as server:
        # No limits are learned: they alone would hold the others back.
        results, _ = outcome(server, 60, num_workers=4, use_adaptive_concurrency=False)
    assert all(result.ok for result in results)
    limited = [request.time for request in server.requests if request.last_text == "row 0"]
    assert len(limited) == times + 1
    for before, after in itertools.pairwise(limited):
        assert after - before >= least
        # Nobody else sends, but for what was on its way when the answer came.
        between = [r for r in server.requests if before < r.time < before + least]
        assert len(between) < 8
    assert sum(result.attempts for result in results) == 60 + times


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_request_that_is_refused_fails_its_row_at_once_and_the_run_goes_on(status: int) -> None:
    def answer(request: Received) -> Entry:
        number = int(request.last_text.split()[1])
        return error(status) if number % 5 == 3 else completion()

    with FaultServer(then=answer) as server:
        results, run = outcome(server, 50, num_workers=2)
    assert [result.ok for result in results] == [number % 5 != 3 for number in range(50)]
    assert len(server.requests) == 50
    assert {result.attempts for result in results} == {1}
    assert run.stopped() is None


@pytest.mark.parametrize("status", [400, 404, 413, 422, 401, 403])
def test_what_every_row_meets_stops_the_run(status: int, tmp_path: Path) -> None:
    with FaultServer(then=error(status)) as server:
        results, run = outcome(server, 1000, tmp_path / "out.jsonl", num_workers=8)
    assert run.summary().exit_code == 3
    assert not any(result.ok for result in results)
    most = 8 if status in {401, 403, 404} else 100
    assert len(server.requests) <= most
    with FaultServer() as server:
        results, run = outcome(server, 1000, tmp_path / "out.jsonl", num_workers=8)
    failed = [result for result in results if not result.ok]
    assert len(results) == 1000
    assert len(failed) < most
    assert len(server.requests) == 1000 - len(failed)


@pytest.mark.parametrize("message", ["down", "overloaded"])
def test_a_server_that_is_down_for_ever_ends_the_run_and_loses_no_row(
    message: str, tmp_path: Path
) -> None:
    with FaultServer(then=error(503, message)) as server:
        results, run = outcome(
            server, 1000, tmp_path / "out.jsonl", num_workers=16, row_deadline=1.0
        )
    assert run.summary().exit_code == 3
    assert len(results) < 1000
    if message == "down":  # a hundred retries, and each row that failed with or without them
        assert len(server.requests) <= 100 + len(results) + 2 * 16
    with FaultServer() as server:
        results, run = outcome(server, 1000, tmp_path / "out.jsonl", num_workers=16)
    assert [result.text for result in results] == [f"row {number}" for number in range(1000)]
    assert run.summary().exit_code == 0


def test_a_server_that_is_down_for_a_while_is_waited_for() -> None:
    up, down = [completion()] * 100, [error(503, "down"), close_early()] * 100
    with FaultServer([*up, *down]) as server:
        results, run = outcome(server, 400, num_workers=64)

    assert [result.text for result in results] == [f"row {number}" for number in range(400)]
    assert run.stopped() is None
    assert len(server.requests) == 400 + len(down)


def test_a_server_that_hangs_for_ever_ends_the_run(tmp_path: Path) -> None:
    with FaultServer(then=stall()) as server:
        results, run = outcome(
            server, 1000, tmp_path / "out.jsonl", num_workers=32, connection_timeout=0.03
        )
    assert run.summary().exit_code == 3
    assert len(server.requests) <= 50 + len(results) + 2 * 32
    with FaultServer() as server:
        results, _ = outcome(server, 1000, tmp_path / "out.jsonl", num_workers=32)
    assert all(result.ok for result in results)


def test_an_account_without_money_stops_the_run_at_once(tmp_path: Path) -> None:
    broke = error(429, "pay", code="insufficient_quota", error_type="insufficient_quota")
    began = time.monotonic()
    with FaultServer(then=broke) as server:
        results, run = outcome(server, 1000, tmp_path / "out.jsonl", num_workers=16)
    assert time.monotonic() - began < 5
    assert run.summary().exit_code == 3
    assert len(server.requests) == len(results) <= 16
    with FaultServer() as server:
        results, _ = outcome(server, 1000, tmp_path / "out.jsonl", num_workers=16)
    assert len(server.requests) == 1000
    assert all(result.ok for result in results)

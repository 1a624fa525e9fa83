"""What follows an attempt, whatever the engine and the policy do; in exact virtual time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from oumi_core import RunStopped, get_engine
from oumi_core.configs import GenerationParams, InferenceConfig, ModelParams, RemoteParams
from oumi_core.engine import Engine, EngineConfig, Request
from oumi_core.errors import EngineError
from oumi_core.plugin_info import Found
from oumi_core.run.attempts import Again, Attempts
from oumi_core.run.plan import make_plan
from oumi_core.run.retry import Retry, RetryPolicy, StopRun
from oumi_core.run.row import Row
from oumi_core.run.turns import Turn
from oumi_core.types import (
    Completion,
    Conversation,
    Failure,
    FailureKind,
    FinishReason,
    Message,
    Result,
    Usage,
)

if TYPE_CHECKING:
    from pathlib import Path


def ask(text: str) -> Conversation:
    return Conversation([Message("user", text)])


async def results_of(engine: type[Engine], rows: list[str], **fields: Any) -> Any:
    """Run the rows on the loop of this test; results in input order, and the run."""
    results: list[Result] = []

    async def keep(result: Result) -> None:
        results.append(result)

    run = get_engine(engine, model="m", **fields).run([ask(row) for row in rows])
    await run.execute(keep)
    return sorted(results, key=lambda result: result.index), run


class Says(Engine):
    """Fails a row as its text says."""

    async def complete(self, request: Request) -> Completion:
        match request.conversation[0].text:
            case "long":
                raise EngineError(Failure(FailureKind.BAD_REQUEST, "too long", 400))
            case "gone":
                raise EngineError(Failure(FailureKind.NOT_FOUND, "no such file", 404))
            case "busy":
                raise EngineError(Failure(FailureKind.TRANSIENT, "busy", 503))
        return Completion(Message("assistant", "x"))


@pytest.mark.parametrize(
    "between",
    [["long", "long", "gone"], ["gone", "gone", "long", "gone"], ["gone", "gone", "ok", "gone"]],
)
def test_rows_that_fail_for_reasons_of_their_own_do_not_stop_the_run(
    virtual: Any, between: list[str]
) -> None:
    rows = ["ok"] * 3 + between + ["ok"] * 3
    results, run = virtual(results_of(Says, rows, num_workers=1))
    assert len(results) == len(rows)
    assert run.stopped() is None


@pytest.mark.parametrize("between", [["gone"] * 3, ["gone", "busy", "gone", "gone"]])
def test_three_rows_in_a_row_that_meet_what_depends_on_no_row_stop_it(
    virtual: Any, between: list[str]
) -> None:
    rows = ["ok"] * 3 + between + ["ok"] * 3
    results, run = virtual(results_of(Says, rows, num_workers=1, max_retries=0))
    assert len(results) == 3 + len(between)
    assert isinstance(run.stopped(), RunStopped)


class Slow(Engine):
    """Takes as many seconds as the row says."""

    async def complete(self, request: Request) -> Completion:
        await asyncio.sleep(float(request.conversation[0].text))
        return Completion(Message("assistant", "x"))


def test_row_deadline_cuts_an_engine_that_hangs(virtual: Any) -> None:
    rows = ["1000", "0.5", "0.9", "1000"]
    results, _ = virtual(results_of(Slow, rows, row_deadline=1.0))
    assert [result.ok for result in results] == [False, True, True, False]
    error = results[0].error
    assert (error.kind, error.retryable) == (FailureKind.TIMEOUT, True)
    assert "row_deadline (1 s)" in error.message
    assert results[0].attempts == 1
    assert results[0].latency == 1.0


def test_without_a_row_deadline_a_row_may_take_any_time(virtual: Any) -> None:
    ((result,), _) = virtual(results_of(Slow, ["1e7"], row_deadline=None))
    assert result.ok


def test_row_deadline_counts_from_the_first_attempt(virtual: Any) -> None:
    class Tired(Engine):
        async def complete(self, request: Request) -> Completion:
            await asyncio.sleep(4)
            raise EngineError(Failure(FailureKind.TRANSIENT, "tired", retry_after=1))

    ((result,), _) = virtual(results_of(Tired, ["x"], row_deadline=7.0))
    assert result.error.kind is FailureKind.TIMEOUT
    assert result.attempts == 2
    assert result.latency == 7.0


def test_a_retry_that_would_pass_the_row_deadline_is_not_made(virtual: Any) -> None:
    class Tired(Engine):
        async def complete(self, request: Request) -> Completion:
            raise EngineError(Failure(FailureKind.RATE_LIMIT, "tired", retry_after=50))

    ((result,), _) = virtual(results_of(Tired, ["x"], row_deadline=20.0))
    assert result.error.kind is FailureKind.RATE_LIMIT
    assert "row_deadline (20 s)" in result.error.message
    assert (result.attempts, result.latency) == (1, 0.0)


def test_row_deadline_cuts_an_answer_that_is_asked_for_again(virtual: Any) -> None:
    class Empty(Engine):
        async def complete(self, request: Request) -> Completion:
            await asyncio.sleep(4)
            return Completion(Message("assistant", ""))

    ((result,), _) = virtual(results_of(Empty, ["x"], row_deadline=6.0, on_empty="ask_again"))
    assert result.error.kind is FailureKind.TIMEOUT
    assert result.latency == 6.0


def test_row_deadline_does_not_count_the_wait_for_leave_to_begin(virtual: Any) -> None:
    rows = ["0"] * 5
    results, _ = virtual(results_of(Slow, rows, row_deadline=1.0, requests_per_minute=1))
    assert all(result.ok for result in results)


def test_row_deadline_cuts_the_wait_for_leave_to_try_again(virtual: Any) -> None:
    class Once(Engine):
        async def complete(self, request: Request) -> Completion:
            raise EngineError(Failure(FailureKind.TRANSIENT, "tired"))

    ((result,), _) = virtual(results_of(Once, ["x"], row_deadline=30.0, requests_per_minute=1))
    assert result.error.kind is FailureKind.TIMEOUT
    assert (result.attempts, result.latency) == (1, 30.0)


def test_an_answer_that_an_engine_gives_when_it_is_cut_is_taken(virtual: Any) -> None:
    class Stubborn(Engine):
        async def complete(self, request: Request) -> Completion:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
            return Completion(Message("assistant", "still"))

    results, _ = virtual(results_of(Stubborn, ["x"] * 3, row_deadline=1.0, num_workers=1))
    assert [result.text for result in results] == ["still"] * 3


def test_closing_a_run_that_is_at_its_deadline_ends_it() -> None:
    async def main() -> None:
        run = asyncio.create_task(results_of(Slow, ["1000"], row_deadline=0.01))
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    asyncio.run(main())


class Cut(Engine):
    """Says that any answer was cut; notes when it was asked for how much."""

    asked: list[tuple[float, int]]

    async def complete(self, request: Request) -> Completion:
        most = request.generation.max_new_tokens
        type(self).asked.append((asyncio.get_running_loop().time(), most))
        return Completion(Message("assistant", "x"), FinishReason.LENGTH, Usage(1, most))


def test_an_answer_that_is_asked_for_again_reserves_what_it_may_take(virtual: Any) -> None:
    Cut.asked = []
    config = InferenceConfig(
        model=ModelParams("m"),
        generation=GenerationParams(max_new_tokens=1000, on_truncated="ask_again"),
        remote_params=RemoteParams(output_tokens_per_minute=5000),
    )

    async def main() -> None:
        async def ignore(result: Result) -> None:
            pass

        await get_engine(Cut, config).run([ask("x")]).execute(ignore)

    virtual(main())
    assert Cut.asked == [(0.0, 1000), (0.0, 2000), (60.0, 4000)]


def test_a_row_that_is_no_conversation_fails_where_tokens_are_counted_too(virtual: Any) -> None:
    results: list[Result] = []

    async def main() -> None:
        async def keep(result: Result) -> None:
            results.append(result)

        engine = get_engine(Says, model="m", input_tokens_per_minute=100)
        await engine.run([{"messages": []}]).execute(keep)  # type: ignore[list-item]

    virtual(main())
    assert [result.ok for result in results] == [False]


class Raises(RetryPolicy):
    def decide(self, failure: Any, history: Any, now: float) -> Any:
        raise IndexError


class Returns(RetryPolicy):
    answer: Any

    def decide(self, failure: Any, history: Any, now: float) -> Any:
        return self.answer


async def sent(policy: RetryPolicy, failure: Failure) -> tuple[Result | Again, Attempts]:
    """What becomes of a row that meets `failure` once, under a policy."""

    class Fails(Engine):
        async def complete(self, request: Request) -> Completion:
            raise EngineError(failure)

    config = InferenceConfig(model=ModelParams("m"))
    plan = attrs.evolve(make_plan(config, Found(Fails, "fails", "", "")), policy=policy)
    engine = Fails(EngineConfig(plan.model))
    attempts = Attempts(Row(engine, plan), engine, plan, 1)
    task = asyncio.current_task()
    assert task is not None
    return await attempts.send(Turn(0, None), ask("x"), task), attempts


def returns(answer: Any) -> RetryPolicy:
    policy = Returns(RemoteParams())
    policy.answer = answer
    return policy


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (Raises(RemoteParams()), f"Raises raised IndexError at {__file__}:"),
        (returns(None), "Returns returned NoneType"),
        (returns(Retry(float("nan"))), "Returns asks to wait nan s"),
        (returns(Retry(float("inf"))), "Returns asks to wait inf s"),
        (returns(Retry(-1.0)), "Returns asks to wait -1.0 s"),
    ],
)
def test_a_policy_that_is_broken_fails_the_row_and_says_so(
    virtual: Any, policy: RetryPolicy, why: str
) -> None:
    result, attempts = virtual(sent(policy, Failure(FailureKind.TRANSIENT, "busy")))
    assert isinstance(result, Result)
    assert result.error is not None
    assert result.error.kind is FailureKind.TRANSIENT
    assert result.error.message.startswith("busy; the retry policy ")
    assert why in result.error.message
    assert attempts.stopped_by is None


def test_a_policy_that_is_broken_does_not_keep_an_account_error_from_stopping(
    virtual: Any,
) -> None:
    _, attempts = virtual(sent(Raises(RemoteParams()), Failure(FailureKind.QUOTA, "empty")))
    assert attempts.stopped_by is not None


def test_a_policys_reason_for_stopping_is_told(virtual: Any) -> None:
    stop = returns(StopRun("come back on Monday"))
    _, attempts = virtual(sent(stop, Failure(FailureKind.TRANSIENT, "busy")))
    assert attempts.stopped_by is not None
    assert attempts.stopped_by.message == "busy: come back on Monday"


def test_a_policy_that_cannot_be_made_is_a_plugin_error(tmp_path: Path) -> None:
    info = tmp_path / "acme-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[oumi.retry_policies]\nacme = acme\n")
    (tmp_path / "acme.py").write_text(
        "from oumi_core.hookspecs import hookimpl\n"
        "from oumi_core.run.retry import NoRetryPolicy\n"
        "class Acme(NoRetryPolicy):\n"
        "    def __init__(self, params):\n"
        "        raise KeyError('x')\n"
        "@hookimpl\n"
        "def oumi_retry_policies():\n"
        "    return {'acme': Acme}\n"
    )
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import oumi_core as oumi\n"
        "try: oumi.get_engine('echo', model='m', retry_policy='acme').run([])\n"
        "except oumi.PluginError as error: print(error.name, error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("acme retry policy 'acme' cannot be made: it raised KeyError; ")


def test_rows_that_an_earlier_run_answered_speak_against_stopping(
    virtual: Any, tmp_path: Path
) -> None:
    out = str(tmp_path / "out.jsonl")
    wrong = [f"long {n}" for n in range(60)]

    class Strict(Engine):
        async def complete(self, request: Request) -> Completion:
            if request.conversation[0].text.startswith("long"):
                raise EngineError(Failure(FailureKind.BAD_REQUEST, "too long", 400))
            return Completion(Message("assistant", "x"))

    fields = {"output_path": out, "num_workers": 1}
    (first,), _ = virtual(results_of(Strict, ["ok"], **fields))
    assert first.ok
    results, run = virtual(results_of(Strict, ["ok", *wrong], **fields))
    assert len(results) == 61
    assert run.stopped() is None
    results, run = virtual(results_of(Strict, wrong, output_path=out + "2", num_workers=1))
    assert len(results) == 50
    assert "50 attempts failed and none succeeded" in str(run.stopped())


class Account(Engine):
    """Refuses the first request that comes; notes when it was asked."""

    asked: list[float]

    async def complete(self, request: Request) -> Completion:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(3)
        if len(self.asked) <= 2 and request.conversation[0].text == "0":
            raise EngineError(Failure(FailureKind.QUOTA, "nothing left", 429))
        return Completion(Message("assistant", "x"))


async def ends(**fields: Any) -> tuple[float, int, Any]:
    """When a run of fifty rows ends, after how many results."""
    results, run = await results_of(Account, [str(n) for n in range(50)], **fields)
    return asyncio.get_running_loop().time(), len(results), run


@pytest.fixture(autouse=True)
def _nobody_asked() -> None:
    Account.asked = []


def test_a_run_that_is_stopped_does_not_send_what_waits_for_leave(virtual: Any) -> None:
    at, count, run = virtual(ends(requests_per_minute=2, num_workers=20))
    assert (at, count, Account.asked) == (3.0, 2, [0.0, 0.0])
    assert run.stopped() is not None


def test_a_run_that_is_asked_to_stop_sends_nothing_that_waits_for_leave(virtual: Any) -> None:
    async def main() -> tuple[float, int]:
        results: list[Result] = []

        async def keep(result: Result) -> None:
            results.append(result)

        engine = get_engine(Account, model="m", requests_per_minute=2, num_workers=20)
        run = engine.run([ask("x")] * 50)
        asyncio.get_running_loop().call_later(1, run.stop)
        await run.execute(keep)
        assert all(result.ok for result in results)
        return asyncio.get_running_loop().time(), len(results)

    assert virtual(main()) == (3.0, 2)


def test_a_run_that_is_stopped_tries_nothing_again(virtual: Any) -> None:
    class Mixed(Engine):
        async def complete(self, request: Request) -> Completion:
            text = request.conversation[0].text
            Account.asked.append(asyncio.get_running_loop().time())
            if text == "busy":
                raise EngineError(Failure(FailureKind.TRANSIENT, "busy", 503, retry_after=2))
            await asyncio.sleep({"quota": 1.0, "slow": 9.0, "slower": 10.0}[text])
            if text == "quota":
                raise EngineError(Failure(FailureKind.QUOTA, "nothing left", 429))
            return Completion(Message("assistant", "x"))

    rows = ["busy", "busy", "quota", "slow", "slower"]
    results, run = virtual(results_of(Mixed, rows, num_workers=5))
    assert Account.asked == [0.0] * 5
    assert len(results) == 3
    assert run.stopped() is not None

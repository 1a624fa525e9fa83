"""Limits hold from the first request on, in exact virtual time, across engines and calls."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import deque
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core import get_engine
from oumi_core.configs import ModelParams, RemoteParams
from oumi_core.engine import Engine, EngineConfig, Request
from oumi_core.errors import EngineError
from oumi_core.providers import Provider
from oumi_core.run.governor import Governor, Wish
from oumi_core.run.governors import governor_of
from oumi_core.run.limits import Limit, Log
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message, Usage


class Server(Engine):
    """A server in virtual time: notes each start, answers after a while or as the script says."""

    remote: ClassVar[bool] = True
    starts: ClassVar[list[float]] = []
    script: ClassVar[deque[Failure]] = deque()
    in_flight: ClassVar[int] = 0
    most_in_flight: ClassVar[int] = 0
    seconds: ClassVar[float] = 0.1
    bears: ClassVar[int] = 10**9
    usage: ClassVar[Usage | None] = None

    async def complete(self, request: Request) -> Completion:
        cls = Server
        cls.starts.append(asyncio.get_running_loop().time())
        cls.in_flight += 1
        cls.most_in_flight = max(cls.most_in_flight, cls.in_flight)
        too_many = cls.in_flight > cls.bears
        try:
            await asyncio.sleep(cls.seconds)
        finally:
            cls.in_flight -= 1
        if too_many:
            raise EngineError(Failure(FailureKind.RATE_LIMIT, "too many"))
        if cls.script:
            raise EngineError(cls.script.popleft())
        return Completion(Message("assistant", "x"), usage=cls.usage)


@pytest.fixture(autouse=True)
def _new_server() -> None:
    Server.starts.clear()
    Server.script.clear()
    Server.in_flight = Server.most_in_flight = 0
    Server.seconds, Server.bears, Server.usage = 0.1, 10**9, None


def ask(count: int) -> list[Conversation]:
    return [Conversation([Message("user", "x" * 40)])] * count


async def outcome(count: int, **fields: Any) -> Any:
    """Run so many rows on the loop of this test; the results and the run."""
    results: list[Any] = []

    async def keep(result: Any) -> None:
        results.append(result)

    run = get_engine(Server, model="m", **fields).run(ask(count))
    await run.execute(keep)
    return results, run


def most_in_any(seconds: float, starts: list[float]) -> int:
    return max(sum(1 for at in starts if first <= at < first + seconds) for first in starts)


def test_requests_per_minute_hold_in_every_window_the_first_included(virtual: Any) -> None:
    results, _ = virtual(outcome(200, requests_per_minute=60, num_workers=100))
    assert len(results) == 200
    assert all(result.ok for result in results)
    assert most_in_any(60.0, Server.starts) == 60
    assert Server.starts[-1] < 200  # and no slower than the limit allows


def test_two_engines_and_two_calls_share_one_limit(virtual: Any) -> None:
    async def both() -> None:
        fields = {"requests_per_minute": 30, "num_workers": 50}
        await asyncio.gather(outcome(45, **fields), outcome(45, **fields))
        await outcome(30, **fields)

    virtual(both())
    assert len(Server.starts) == 120
    assert most_in_any(60.0, Server.starts) == 30


def test_limits_that_differ_are_asked_against_one_count(virtual: Any) -> None:
    async def three() -> None:
        await asyncio.gather(
            *(outcome(70, requests_per_minute=most, num_workers=80) for most in (60, 61, 62))
        )

    virtual(three())
    assert len(Server.starts) == 210
    assert most_in_any(60.0, Server.starts) == 62


def test_a_limit_counts_the_requests_of_runs_that_have_none(virtual: Any) -> None:
    async def both() -> None:
        await outcome(1, requests_per_minute=30)
        await outcome(40, num_workers=40, use_adaptive_concurrency=False)
        await outcome(1, requests_per_minute=30)

    virtual(both())
    assert Server.starts[40] < 1.0
    assert Server.starts[41] >= 60.0


def test_a_limit_of_tokens_counts_the_tokens_of_runs_that_have_none(virtual: Any) -> None:
    Server.usage = Usage(11, 5)

    async def both() -> None:
        await outcome(1, input_tokens_per_minute=110)
        await outcome(9, use_adaptive_concurrency=False)
        await outcome(1, input_tokens_per_minute=110)

    virtual(both())
    assert Server.starts[10] >= 60.0


def test_a_window_of_another_length_begins_with_what_is_known(virtual: Any) -> None:
    async def both() -> None:
        await outcome(20, requests_per_minute=30, num_workers=20, use_adaptive_concurrency=False)
        await outcome(1, num_workers=20, politeness_policy=40.0)

    virtual(both())
    assert Server.starts[20] == 40.0


def test_a_run_that_waits_for_its_own_limit_holds_up_no_other(virtual: Any) -> None:
    async def both() -> None:
        slow = asyncio.create_task(outcome(5, requests_per_minute=1))
        await asyncio.sleep(1)
        await outcome(20)
        assert asyncio.get_running_loop().time() < 10
        await outcome(20, input_tokens_per_minute=10**6)
        assert asyncio.get_running_loop().time() < 20
        await slow

    virtual(both())
    assert len(Server.starts) == 45


def test_requests_of_equal_limits_start_in_the_order_of_asking(virtual: Any) -> None:
    async def main() -> list[int]:
        governor, order = Governor(), []
        wish = Wish((Limit("requests", 2),), {}, adaptive=False)
        governor.count(wish.limits)

        async def ask_for(number: int) -> None:
            governor.end(governor.admit_now(wish) or await governor.admit(wish), None, None)
            order.append(number)

        await asyncio.gather(*map(ask_for, range(9)))
        return order

    assert virtual(main()) == list(range(9))


def test_one_that_no_longer_waits_lets_the_next_one_go(virtual: Any) -> None:
    async def main() -> None:
        governor = Governor()
        big = Wish((Limit("output_tokens", 100),), {"output_tokens": 100}, adaptive=False)
        small = Wish(big.limits, {"output_tokens": 1}, adaptive=False)
        governor.count(big.limits)
        assert governor.admit_now(small) is not None
        first = asyncio.create_task(governor.admit(big))
        second = asyncio.create_task(governor.admit(small))
        await asyncio.sleep(1)
        assert not second.done()
        first.cancel()
        await second
        assert asyncio.get_running_loop().time() == 1.0
        assert governor.in_flight == 2

    virtual(main())


def test_leave_that_comes_too_late_goes_to_the_next(virtual: Any) -> None:
    async def main() -> None:
        governor = Governor()
        wish = Wish((), {}, adaptive=True)
        tickets = [governor.admit_now(wish) for _ in range(8)]
        first = asyncio.create_task(governor.admit(wish))
        second = asyncio.create_task(governor.admit(wish))
        await asyncio.sleep(0)
        governor.adaptive.concurrency = 1.0
        for ticket in tickets:
            assert ticket is not None
            governor.end(ticket, None, Failure(FailureKind.TIMEOUT, "slow"))
        first.cancel()  # it has leave by now, but has not run since
        await second
        assert governor.in_flight == 1

    virtual(main())


def test_leave_that_comes_too_late_does_not_count(virtual: Any) -> None:
    async def main() -> None:
        governor = Governor()
        wish = Wish((Limit("requests", 9),), {}, adaptive=True)
        governor.count(wish.limits)
        tickets = [governor.admit_now(wish) for _ in range(8)]
        late = asyncio.create_task(governor.admit(wish))
        await asyncio.sleep(0)
        assert tickets[0] is not None
        governor.end(tickets[0], None, None)
        late.cancel()  # it has leave by now, but has not run since
        await asyncio.wait([late])
        assert late.cancelled()
        assert governor.admit_now(wish) is not None

    virtual(main())


def test_a_request_that_was_given_up_says_nothing_of_the_server(virtual: Any) -> None:
    async def main() -> None:
        governor, busy = Governor(), Failure(FailureKind.TRANSIENT, "busy")
        while governor.may_retry(busy):
            governor.spend_retry(busy)
        wish = Wish((), {}, adaptive=True)
        tickets = []
        while (ticket := governor.admit_now(wish)) is not None:
            tickets.append(ticket)
        waits = asyncio.create_task(governor.admit(wish))
        await asyncio.sleep(0)
        before = governor.adaptive.concurrency
        for ticket in tickets:
            governor.cancelled(ticket)
        assert not governor.may_retry(busy)
        assert governor.adaptive.concurrency == before
        await waits

    virtual(main())


def test_a_governor_is_let_go_when_nobody_has_used_it_for_long(virtual: Any) -> None:
    async def main() -> None:
        first = weakref.ref(governor_of(("a",)))
        held = governor_of(("b",))
        await asyncio.sleep(300)
        governor_of(("c",))
        gc.collect()
        assert first() is governor_of(("a",))
        await asyncio.sleep(601)
        governor_of(("d",))
        gc.collect()
        assert first() is None
        assert governor_of(("b",)) is held

    virtual(main())


def test_other_servers_and_keys_have_limits_of_their_own(virtual: Any) -> None:
    async def both() -> None:
        fields = {"requests_per_minute": 30, "num_workers": 50}
        await asyncio.gather(outcome(30, api_key="a", **fields), outcome(30, api_key="b", **fields))

    virtual(both())
    assert Server.starts[-1] < 60


def test_each_provider_and_key_variable_has_a_scope_of_its_own() -> None:
    model = ModelParams("m")
    one, two = Provider("one", "https://one.example/v1"), Provider("two", "https://two.example/v1")
    scopes = {
        Server(EngineConfig(model, remote, {}, provider)).limit_scope(model)
        for provider in (one, two)
        for remote in (None, RemoteParams(api_key_env_varname="A"), RemoteParams(api_key="B"))
    }
    assert len(scopes) == 6


def test_output_tokens_per_minute_reserve_before_and_settle_after(virtual: Any) -> None:
    Server.usage = Usage(10, 5)
    virtual(outcome(40, output_tokens_per_minute=100, max_new_tokens=50, num_workers=20))
    # Two requests reserve all 100; each that ends gives 45 back.
    spent = [(at, 5) for at in Server.starts]
    for first, _ in spent:
        assert sum(amount for at, amount in spent if first <= at < first + 60) <= 100
    assert Server.most_in_flight == 2
    assert Server.starts[-1] < 300  # 10 to 20 in any minute, where 2 would be if none gave back


def test_input_tokens_per_minute_count_the_prompt(virtual: Any) -> None:
    virtual(outcome(30, input_tokens_per_minute=110, num_workers=20))  # 11 tokens a prompt
    assert most_in_any(60.0, Server.starts) == 10


def test_input_tokens_are_settled_with_the_real_count(virtual: Any) -> None:
    Server.usage = Usage(55, 5)  # where 11 were expected

    async def both() -> None:
        await outcome(2, input_tokens_per_minute=110, num_workers=2)
        await outcome(1, input_tokens_per_minute=110, num_workers=2)

    virtual(both())
    assert Server.starts[2] == 60.0


def test_politeness_bounds_the_starts_and_is_waited_out_after_an_error(virtual: Any) -> None:
    Server.script.append(Failure(FailureKind.TRANSIENT, "once"))
    results, _ = virtual(outcome(250, num_workers=100, politeness_policy=60.0))
    assert all(result.ok for result in results)
    assert most_in_any(60.0, Server.starts) == 100
    (retried,) = (result for result in results if result.attempts == 2)
    assert retried.latency >= 60.0


@pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.RATE_LIMIT])
def test_a_worker_that_met_an_error_waits_politely(virtual: Any, kind: FailureKind) -> None:
    Server.script.append(Failure(kind, "once"))
    virtual(outcome(1, num_workers=100, politeness_policy=60.0))  # 99 more could start at once
    assert Server.starts[1] >= 60.0


def test_a_rate_limit_makes_everybody_wait_as_long_as_the_server_says(virtual: Any) -> None:
    Server.script.extend(Failure(FailureKind.RATE_LIMIT, "slow", retry_after=2.0) for _ in "123")
    results, _ = virtual(outcome(1, num_workers=16))
    assert [result.attempts for result in results] == [4]
    gaps = [after - before for before, after in zip(Server.starts, Server.starts[1:], strict=False)]
    assert all(2.0 <= gap <= 3.0 for gap in gaps)


def test_nobody_sends_while_the_server_asks_to_wait(virtual: Any) -> None:
    Server.script.append(Failure(FailureKind.RATE_LIMIT, "slow", retry_after=5.0))
    results, _ = virtual(outcome(50, num_workers=8))
    assert all(result.ok for result in results)
    first_eight, rest = Server.starts[:8], Server.starts[8:]
    assert max(first_eight) == 0.0
    assert min(rest) >= 5.0


def test_waits_for_a_rate_limit_do_not_count_as_retries(virtual: Any) -> None:
    Server.script.extend(Failure(FailureKind.RATE_LIMIT, "slow") for _ in range(12))
    (result,), _ = virtual(outcome(1, max_retries=1))
    assert result.ok
    assert result.attempts == 13


def test_a_row_that_waits_for_its_retry_holds_no_worker(virtual: Any) -> None:
    Server.script.append(Failure(FailureKind.TRANSIENT, "once", retry_after=100.0))
    results, _ = virtual(outcome(20, num_workers=1))
    assert [result.index for result in results] == [*range(1, 20), 0]
    assert Server.starts[19] < 5
    assert Server.starts[20] > 100


def test_a_server_that_is_down_ends_the_run_within_the_retry_budget(virtual: Any) -> None:
    Server.script.extend(Failure(FailureKind.TRANSIENT, "503", status=503) for _ in range(10**5))
    results, run = virtual(outcome(10_000, num_workers=16))
    summary = run.summary()
    assert summary.exit_code == 3
    assert "retry budget" in run.stopped().failure.message
    assert not any(result.ok for result in results)
    assert len(Server.starts) <= 100 + len(results)
    assert len(results) < 300


def test_a_server_that_fails_one_request_in_ten_costs_no_row(virtual: Any) -> None:
    class Flaky(Server):
        count = 0

        async def complete(self, request: Request) -> Completion:
            Flaky.count += 1
            if Flaky.count % 10 == 0:
                raise EngineError(Failure(FailureKind.TRANSIENT, "503"))
            return await super().complete(request)

    async def main() -> list[Any]:
        results: list[Any] = []

        async def keep(result: Any) -> None:
            results.append(result)

        run = get_engine(Flaky, model="m", num_workers=32, max_retries=5).run(ask(3000))
        await run.execute(keep)
        return results

    assert all(result.ok for result in virtual(main()))


def test_concurrency_starts_low_and_grows_while_answers_come(virtual: Any) -> None:
    virtual(outcome(2000, num_workers=256))
    assert Server.starts.count(0.0) == 8
    assert Server.most_in_flight == 256


def test_concurrency_settles_where_the_server_bears_it(virtual: Any) -> None:
    Server.bears = 40
    results, _ = virtual(outcome(3000, num_workers=256, retry_backoff_base=0.2))
    assert all(result.ok for result in results)
    assert len(Server.starts) < 3000 * 1.15


def test_adaptive_concurrency_can_be_switched_off(virtual: Any) -> None:
    virtual(outcome(100, num_workers=64, use_adaptive_concurrency=False))
    assert Server.starts.count(0.0) == 64


def test_a_run_that_does_not_adapt_leaves_room_for_one_that_does(virtual: Any) -> None:
    ends: list[tuple[str, float]] = []

    async def one(name: str, count: int, **fields: Any) -> None:
        await outcome(count, num_workers=64, **fields)
        ends.append((name, asyncio.get_running_loop().time()))

    async def both() -> None:
        await asyncio.gather(
            one("heedless", 6400, use_adaptive_concurrency=False), one("adaptive", 200)
        )

    virtual(both())
    assert ends[0][0] == "adaptive"
    assert ends[0][1] == pytest.approx(0.6)  # 8, 16, 32, 64, 64 and 16 at once


@given(
    st.lists(st.tuples(st.integers(1, 20), st.sampled_from([1.0, 7.0, 60.0])), min_size=1),
    st.lists(
        st.tuples(st.floats(0, 30), st.integers(1, 25), st.integers(0, 99)),
        min_size=1,
        max_size=60,
    ),
)
def test_no_window_ever_holds_more_than_any_of_its_limits(
    limits: list[tuple[int, float]], wishes: list[tuple[float, int, int]]
) -> None:
    log, now = Log(), 0.0
    spent: list[tuple[float, int]] = []
    for _, seconds in limits:
        log.look_back(seconds)
    for later, amount, which in wishes:
        now += later
        limit = Limit("requests", *limits[which % len(limits)])
        while (ready := log.ready(limit, amount, now)) > now:
            now = ready
        inside = [each for at, each in spent if at > now - limit.seconds + 1e-6]
        assert not inside or sum(inside) + amount <= limit.most
        log.reserve(amount, now)
        spent.append((now, amount))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_retries_come_on_every_loop(loop: str) -> None:
    """Waits in real time, of odd lengths: a loop that rings early must not forget them."""
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    Server.seconds = 0.0
    Server.script.extend(Failure(FailureKind.TRANSIENT, "once") for _ in range(90))
    fields = {"num_workers": 1, "max_retries": 99, "retry_backoff_base": 0.0017}
    with asyncio.Runner(loop_factory=factory) as runner:
        results, _ = runner.run(outcome(100, retry_backoff_max=0.0017, **fields))
    assert all(result.ok for result in results)


def test_a_run_that_is_canceled_lets_go_of_rows_that_wait_for_leave(virtual: Any) -> None:
    async def main() -> float:
        run = asyncio.create_task(outcome(500, requests_per_minute=10, num_workers=50))
        await asyncio.sleep(5)
        run.cancel()
        await asyncio.wait([run])
        assert run.cancelled()
        return asyncio.get_running_loop().time()

    assert virtual(main()) == 5.0
    assert len(Server.starts) == 10

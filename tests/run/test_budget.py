"""A job spends no more than its budget, and says what it spent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core import get_engine
from oumi_core.configs import BudgetParams, InferenceConfig
from oumi_core.engine import Engine, Request
from oumi_core.errors import ConfigError, EngineError
from oumi_core.run.budget import Budget, Expense
from oumi_core.run.journal_view import view_journal
from oumi_core.run.price import Price
from oumi_core.types import (
    Completion,
    Conversation,
    Failure,
    FailureKind,
    FinishReason,
    Message,
    Usage,
)

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.run.summary import Summary
    from oumi_core.types import Result

PRICES = {"m": {"input": 2, "cached_input": 0.5, "output": 10}}


class Paid(Engine):
    """Takes a second and 100 tokens for an answer, and notes what is in flight at most."""

    used: ClassVar[Usage | None] = Usage(40, 60, cached_tokens=20)
    starts: ClassVar[list[float]] = []
    failing: ClassVar[set[str]] = set()
    in_flight: ClassVar[int] = 0
    most: ClassVar[int] = 0

    async def complete(self, request: Request) -> Completion:
        cls = type(self)
        cls.starts.append(asyncio.get_running_loop().time())
        cls.in_flight += 1
        cls.most = max(cls.most, cls.in_flight)
        await asyncio.sleep(1 if request.model.model_name == "slow" else 0)
        cls.in_flight -= 1
        text = request.conversation[0].text
        if text in self.failing:
            raise EngineError(Failure(FailureKind.TRANSIENT, "as told"))
        reason = FinishReason.LENGTH if text == "long" else FinishReason.STOP
        return Completion(Message("assistant", "x"), reason, self.used)


@pytest.fixture(autouse=True)
def _forget() -> None:
    Paid.starts.clear()
    Paid.failing.clear()
    Paid.in_flight = Paid.most = 0
    Paid.used = Usage(40, 60, cached_tokens=20)


def rows(count: int, text: str = "row") -> list[Conversation]:
    return [Conversation([Message("user", f"{text} {number}")]) for number in range(count)]


def spent(
    count: int, output: Path | None = None, *, model: str = "m", **fields: Any
) -> tuple[int, Summary, str]:
    """Rows that were answered, the summary, and why it stopped."""
    fields = {"max_new_tokens": 100, "num_workers": 8, "prices": PRICES, **fields}
    with get_engine(Paid, model=model, **fields) as engine:
        run = engine.run(rows(count), output_path=output)
        answered = sum(result.ok for result in run)
        return answered, run.summary(), str(run.stopped())


def test_tokens_are_never_more_than_allowed_and_the_run_can_be_continued(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    answered, summary, why = spent(50, out, max_tokens_total=2000)
    # A row may take 16 and 5 or 6 tokens for its text, and 100; it takes 100.
    assert answered == 19
    assert (summary.exit_code, summary.prompt_tokens, summary.completion_tokens) == (3, 760, 1140)
    assert why == (
        "the run stopped after 19 rows: budget: budget.max_tokens_total (2,000) is used up: "
        "1,900 tokens, and the next row may take 122; raise it and run the same again"
    )
    assert not out.exists()
    answered, summary, _ = spent(50, out, max_tokens_total=3000)
    assert (answered, summary.reused, summary.exit_code) == (29, 19, 3)
    answered, summary, _ = spent(50, out, max_tokens_total=5200)
    assert (answered, summary.reused, summary.exit_code) == (50, 29, 0)
    assert len(out.read_text().splitlines()) == 50


def test_cost_is_counted_by_the_prices_of_the_config(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    each = (20 * 2 + 20 * 0.5 + 60 * 10) / 1e6
    answered, summary, why = spent(50, out, max_cost=0.01)
    assert answered == 14
    assert summary.cost == pytest.approx(14 * each)
    assert "budget.max_cost (0.01) is used up: 0.0091 spent, and the next row may cost" in why
    answered, summary, _ = spent(50, out, max_cost=1.0)
    assert summary.cost == pytest.approx(36 * each)
    assert summary.to_dict()["cost"] == summary.cost
    view = view_journal(str(out))
    assert view.last_run.cost == pytest.approx(50 * each)


def test_a_price_without_a_limit_is_enough_to_know_the_cost() -> None:
    _, summary, _ = spent(2)
    assert summary.cost == pytest.approx(2 * 650 / 1e6)
    assert spent(2, prices={})[1].cost is None


def test_a_model_without_a_price_is_named_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match=r"budget.prices: no price for the model 'mm', .*'m'"):
        spent(1, model="mm", max_cost=1.0)
    assert Paid.starts == []


def test_what_earlier_runs_spent_on_another_model_counts_at_its_own_price(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    spent(10, out, model="dear", prices={"dear": {"input": 0, "output": 1000}})
    # Ten times 60 tokens at 1000 a million are 0.6.
    answered, _, why = spent(10, out, max_cost=0.6)
    assert answered == 0
    assert "0.6 spent" in why
    assert spent(10, out, max_cost=0.61)[0] == 10


def test_an_earlier_model_without_any_price_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    spent(3, out, model="unknown", prices={})
    with pytest.raises(ConfigError, match="no price for the model 'unknown'"):
        spent(3, out, max_cost=1.0)
    view = view_journal(str(out))
    assert view.earlier.cost is None


def test_fresh_begins_a_new_job(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    spent(10, out, max_tokens_total=1200)
    with get_engine(Paid, model="m", max_new_tokens=100, max_tokens_total=1200) as engine:
        run = engine.run(rows(10), output_path=out, fresh=True)
        assert sum(result.ok for result in run) == 10


def test_answers_that_were_not_taken_are_paid_for_too(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    fields: dict[str, Any] = {"max_new_tokens": 100, "on_truncated": "ask_again", "prices": PRICES}
    long = [Conversation([Message("user", "long")])]
    with get_engine(Paid, model="m", **fields) as engine:
        run = engine.run(long, output_path=out)
        (result,) = run
    assert (result.ok, result.attempts) == (False, 3)
    assert result.total_usage == Usage(120, 180, cached_tokens=60)
    assert run.summary().completion_tokens == 180
    assert view_journal(str(out)).last_run.completion_tokens == 180
    # Another try replaces the failure, and what that has cost is not forgotten.
    with get_engine(Paid, model="m", **{**fields, "on_truncated": "fail"}) as engine:
        list(engine.run(long, output_path=out, retry_failed=True))
    assert view_journal(str(out)).last_run.completion_tokens == 240
    # Each asking again has to fit, too: 100 tokens, then 200, then 400.
    with get_engine(Paid, model="m", **fields, max_tokens_total=480) as engine:
        run = engine.run(long)
        assert list(run) == []
    assert "1 row" not in str(run.stopped())
    assert "budget.max_tokens_total (480) is used up: 200 tokens" in str(run.stopped())


def test_an_answer_whose_tokens_nobody_counts_costs_the_most_that_it_may() -> None:
    Paid.used = None
    answered, _, _ = spent(50, max_tokens_total=1250)
    assert answered == 10


def test_answers_whose_tokens_nobody_counts_count_in_later_runs_and_when_asked_again(
    tmp_path: Path,
) -> None:
    Paid.used = None
    out = tmp_path / "out.jsonl"
    assert spent(50, out, max_tokens_total=1250)[0] == 10
    assert spent(50, out, max_tokens_total=1250)[0] == 10
    assert spent(50, out, max_tokens_total=2500)[0] == 20
    # The line is another one, as the row is; what was paid for it stays paid.
    named = [Conversation(row.messages, metadata={"name": "x"}) for row in rows(20)]
    with get_engine(Paid, model="m", max_new_tokens=100, num_workers=8) as engine:
        assert all(result.reused for result in engine.run(named, output_path=out))
    assert spent(50, out, max_tokens_total=2500)[0] == 20
    assert view_journal(str(out)).last_run.completion_tokens == 0
    # Each time with twice the tokens, 120, 220 and 420: the last one would be too much.
    Paid.starts.clear()
    asked: dict[str, Any] = {"max_new_tokens": 100, "on_truncated": "ask_again"}
    with get_engine(Paid, model="m", **asked, max_tokens_total=750) as engine:
        assert list(engine.run([Conversation([Message("user", "long")])])) == []
    assert len(Paid.starts) == 2


def test_answers_to_rows_that_a_stopped_run_gave_up_stay_paid(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    long = [Conversation([Message("user", "long")])] * 20
    fields: dict[str, Any] = {"max_new_tokens": 100, "on_truncated": "ask_again", "num_workers": 8}
    tokens = []
    for _ in range(3):
        with get_engine(Paid, model="m", **fields, max_tokens_total=1000) as engine:
            run = engine.run(long, output_path=out)
            assert not any(result.ok for result in run)
            tokens.append(run.summary().prompt_tokens + run.summary().completion_tokens)
    assert tokens[0] == 100 * len(Paid.starts)
    assert tokens[1:] == [0, 0]
    assert not out.exists()


def test_rows_that_wait_for_the_budget_are_not_sent_once_the_run_is_stopped(virtual: Any) -> None:
    class Locked(Paid):
        async def complete(self, request: Request) -> Completion:
            await super().complete(request)
            raise EngineError(Failure(FailureKind.AUTH, "no such key", 401))

    async def main() -> Any:
        async def keep(result: Result) -> None: ...

        fields: dict[str, Any] = {"max_new_tokens": 100, "num_workers": 8}
        run = get_engine(Locked, model="slow", **fields, max_tokens_total=200).run(rows(8))
        await run.execute(keep)
        return run

    assert virtual(main()).summary().exit_code == 3
    assert Paid.starts == [0.0]


def test_an_answer_that_cannot_be_kept_is_paid_for_too(tmp_path: Path) -> None:
    class Odd(Paid):
        async def complete(self, request: Request) -> Completion:
            return attrs.evolve(await super().complete(request), logprobs={"x": object()})

    out = tmp_path / "out.jsonl"
    with get_engine(Odd, model="m", max_new_tokens=100, prices=PRICES) as engine:
        run = engine.run(rows(3), output_path=out)
        assert not any(result.ok for result in run)
    assert run.summary().completion_tokens == 180
    assert spent(3, out, max_tokens_total=310)[0] == 0


def test_what_failed_without_an_answer_costs_nothing() -> None:
    Paid.failing.update(f"row {number}" for number in range(40))
    answered, summary, _ = spent(50, max_tokens_total=1300, max_retries=0)
    assert (answered, summary.exit_code) == (10, 1)


def test_rows_wait_for_those_in_flight_where_both_would_not_fit(virtual: Any) -> None:
    async def main() -> tuple[float, int]:
        results: list[Result] = []

        async def keep(result: Result) -> None:
            results.append(result)

        fields: dict[str, Any] = {"max_new_tokens": 100, "num_workers": 50}
        engine = get_engine(Paid, model="slow", **fields, max_tokens_total=630)
        await engine.run(rows(9)).execute(keep)
        return asyncio.get_running_loop().time(), len(results)

    assert virtual(main()) == (2.0, 6)
    assert Paid.starts == [0.0] * 5 + [1.0]


async def timed(count: int, deadline: float, **fields: Any) -> tuple[float, int, Any]:
    """When the run ends, how many rows are answered, and the run."""
    results: list[Result] = []

    async def keep(result: Result) -> None:
        results.append(result)

    engine = get_engine(Paid, model="slow", deadline=deadline, **fields)
    run = engine.run(rows(count))
    await run.execute(keep)
    return asyncio.get_running_loop().time(), sum(result.ok for result in results), run


def test_after_the_deadline_nothing_is_sent_and_what_is_in_flight_is_finished(virtual: Any) -> None:
    at, answered, run = virtual(timed(100, 2.5, num_workers=10))
    assert (at, answered, run.summary().exit_code) == (3.0, 30, 3)
    assert "budget.deadline (2.5 s) is over; run the same again" in str(run.stopped())


def test_the_deadline_does_not_wait_for_a_limit(virtual: Any) -> None:
    at, answered, run = virtual(timed(100, 70.0, num_workers=10, requests_per_minute=3))
    assert (at, answered, run.summary().exit_code) == (70.0, 6, 3)


def test_a_deadline_that_comes_with_the_last_row_stops_nothing(virtual: Any) -> None:
    at, answered, run = virtual(timed(20, 1.5, num_workers=10))
    assert (at, answered, run.summary().exit_code) == (2.0, 20, 0)


def test_a_deadline_that_is_over_before_the_engine_is_up_lets_nothing_be_sent(virtual: Any) -> None:
    class Heavy(Paid):
        async def start(self) -> None:
            await asyncio.sleep(100)

    async def main() -> Any:
        run = get_engine(Heavy, model="slow", deadline=60).run(rows(5))

        async def keep(result: Result) -> None:
            raise AssertionError

        await run.execute(keep)
        return run

    assert virtual(main()).summary().exit_code == 3
    assert Paid.starts == []


def test_a_budget_of_a_call_replaces_that_of_the_engine() -> None:
    with get_engine(Paid, model="m", max_tokens_total=1) as engine:
        config = InferenceConfig(budget=BudgetParams())
        assert all(result.ok for result in engine.run(rows(3), inference_config=config))


prompts, answers, amounts = st.integers(0, 500), st.integers(1, 500), st.floats(0, 100)


@given(prompts, prompts, prompts, prompts, st.builds(Price, amounts, amounts, amounts))
def test_costs_add_up_and_prices_survive_the_journal(
    one: int, other: int, cached: int, answer: int, price: Price
) -> None:
    first = Usage(one + cached, answer, cached_tokens=cached)
    second = Usage(other, 0)
    assert price.of(first + second) == pytest.approx(price.of(first) + price.of(second))
    assert price.of(first) >= 0
    assert Price.of_text(price.text) == price


@given(
    st.lists(st.tuples(prompts, answers, st.floats(0, 1)), min_size=1, max_size=40),
    st.integers(1, 10_000),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_no_order_of_answers_passes_the_budget(
    requests: list[tuple[int, int, float]], most: int, workers: int, order: Any
) -> None:
    price = Price(input=3, output=7, cached_input=1)
    params = BudgetParams(max_tokens_total=most, max_cost=most * 5e-6, prices=PRICES)
    waiting = list(requests)

    async def main() -> None:
        budget = Budget(params, price, Expense())
        answered = 0

        async def worker() -> None:
            nonlocal answered
            while waiting:
                prompt, answer, share = waiting.pop()
                wanted = Usage(prompt, answer)
                if not await budget.take(wanted):
                    return
                for _ in range(order.randrange(5)):
                    await asyncio.sleep(0)
                budget.settle(wanted, Usage(round(prompt * share), round(answer * share)))
                answered += 1
                assert budget.spent.tokens <= most
                assert budget.spent.cost <= most * 5e-6 * (1 + 1e-9)

        await asyncio.gather(*(worker() for _ in range(workers)))
        assert answered == len(requests) or budget.used_up is not None

    asyncio.run(main())

"""Rows that bring the body of their request are asked by what it says."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from oumi_core import get_engine
from oumi_core.configs import InferenceConfig
from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.guided.constraint import JsonSchema
from oumi_core.types import Completion, Conversation, Message, Usage
from oumi_core.wire.given_body import row_of

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.types import Result

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
WANTED = {"type": "json_schema", "json_schema": {"name": "A", "schema": SCHEMA, "strict": True}}


class Local(Engine):
    """Says what it was asked for; enforces schemas."""

    capabilities = Capabilities(guided={"json"})

    async def complete(self, request: Request) -> Completion:
        generation, constraint = request.generation, request.constraint
        said = {
            "temperature": generation.temperature,
            "tokens": generation.max_new_tokens,
            "stop": generation.stop_strings,
            "extra": generation.extra_body,
            "schema": constraint.schema if isinstance(constraint, JsonSchema) else None,
        }
        if request.conversation[0].text == "fit":
            said = {"a": 1}
        return Completion(Message("assistant", json.dumps(said)), usage=Usage(1, 1))


class Remote(Local):
    """Sends `extra_body`, too."""

    capabilities = Capabilities(
        guided={"json"}, generation={"temperature", "max_new_tokens", "extra_body", "logprobs"}
    )


class Free(Local):
    """Enforces nothing."""

    capabilities = Capabilities()


def row(text: str = "say", **body: Any) -> Conversation:
    return row_of({"model": "x", "messages": [{"role": "user", "content": text}], **body}, "r")


def results(*rows: Conversation, engine: type[Engine] = Local, **fields: Any) -> list[Result]:
    with get_engine(engine, InferenceConfig(), model="m", **fields) as made:
        return sorted(made.run(list(rows)), key=lambda result: result.index)


def said(*rows: Conversation, engine: type[Engine] = Local, **fields: Any) -> list[dict[str, Any]]:
    return [json.loads(result.text or "") for result in results(*rows, engine=engine, **fields)]


def failure(*rows: Conversation, engine: type[Engine] = Local, **fields: Any) -> str:
    (result,) = results(*rows, engine=engine, **fields)
    assert result.error is not None
    return f"{result.error.kind}: {result.error.message}"


def test_each_row_is_asked_by_its_own_parameters_and_else_by_the_config() -> None:
    plain = Conversation([Message("user", "say")])
    one, two, three, four = said(
        row(temperature=1, max_tokens=5, stop="END"),
        row(max_completion_tokens=9, stop=["A", "B"], temperature=None),
        row(),
        plain,
        temperature=0.5,
        max_new_tokens=70,
    )
    assert (one["temperature"], one["tokens"], one["stop"]) == (1, 5, ["END"])
    assert (two["temperature"], two["tokens"], two["stop"]) == (0.5, 9, ["A", "B"])
    assert three == four
    assert (four["temperature"], four["tokens"], four["stop"]) == (0.5, 70, None)


def test_many_sets_of_parameters_go_side_by_side() -> None:
    rows = [row(seed=at, max_tokens=at + 1) for at in range(600)]
    assert [one["tokens"] for one in said(*rows)] == list(range(1, 601))


def test_a_form_of_answers_is_enforced_and_checked_for_its_row_alone() -> None:
    fits, breaks, free = results(
        row("fit", response_format=WANTED), row(response_format=WANTED), row()
    )
    assert (fits.parsed, fits.checked) == ({"a": 1}, True)
    assert breaks.error is not None
    assert breaks.error.kind == "invalid_output"
    assert (free.ok, free.checked, free.parsed) == (True, None, None)
    (asked,) = said(row(response_format={"type": "json_object"}))
    assert asked["schema"] == {"type": "object"}


def test_a_server_is_asked_for_it_in_the_words_of_the_body() -> None:
    (fits,) = results(row("fit", response_format=WANTED), engine=Remote)
    assert fits.parsed == {"a": 1}
    (asked,) = said(row(response_format={"type": "json_object"}, store=True), engine=Remote)
    assert asked["extra"] == {"response_format": {"type": "json_object"}, "store": True}
    assert asked["schema"] is None


def test_what_the_engine_does_not_use_is_said_once_or_refused() -> None:
    rows = [row(store=True, top_logprobs=2, logprobs=True, max_tokens=3)] * 3
    with pytest.warns(
        UserWarning, match="body.store, body.top_logprobs, body.logprobs: "
    ) as caught:
        said(*rows)
    assert len(caught) == 1
    refused = failure(row(store=True), on_unsupported="error")
    assert refused.startswith("bad_request: body.store: this engine does not use it")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said(row(temperature=1, response_format={"type": "text"}), on_unsupported="error")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"temperature": -1}, "body.temperature: must be at least 0, is -1"),
        ({"max_tokens": "7"}, "body.max_tokens: expected a whole number, got the text '7'"),
        ({"stop": [1]}, "body.stop[0]: expected text"),
        ({"top_logprobs": 3}, "body.top_logprobs: needs logprobs"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "stands beside max_tokens"),
        ({"response_format": {"type": "xml"}}, "body.response_format.type: 'xml' is not text"),
        ({"response_format": {"type": "json_schema"}}, "json_schema.schema: missing"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 7}}}},
            "body.response_format: ",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_name_in_the_body(body: Any, fault: str) -> None:
    assert fault in failure(row(**body))


def test_a_form_that_the_engine_does_not_enforce_is_refused_and_never_dropped() -> None:
    refused = failure(row(response_format=WANTED), engine=Free)
    assert refused.startswith("bad_request: body.response_format: ")
    assert "does not enforce the constraint 'json'" in refused


def test_a_field_of_that_name_that_is_no_body_is_the_users_own() -> None:
    mine = Conversation([Message("user", "say")], extra={"openai_body": "a text"})
    (asked,) = said(mine)
    assert asked["tokens"] == 1024


def test_an_answer_is_reused_for_the_same_parameters_only(tmp_path: Path) -> None:
    def reused(one: Conversation) -> bool:
        with get_engine(Local, InferenceConfig(), model="m") as engine:
            (result,) = engine.run([one], output_path=tmp_path / "out.jsonl")
        return result.reused

    rows = [row(seed=1), row(seed=1), row(seed=2), row(), Conversation([Message("user", "say")])]
    assert [reused(one) for one in rows] == [False, True, False, False, True]


def test_limits_and_budgets_count_the_tokens_that_a_row_asks_for() -> None:
    with get_engine(Local, InferenceConfig(), model="m", num_workers=1) as engine:
        config = InferenceConfig.from_dict({"budget": {"max_tokens_total": 2000}})
        run = engine.run([row(max_tokens=1500)] * 3, inference_config=config)
        assert [result.ok for result in run] == [True] * 3  # each takes 2 of them in the end
        run = engine.run([row(max_tokens=2500)], inference_config=config)
        assert list(run) == []
        assert run.stopped() is not None

"""Answers are reused where the same is sent, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from oumi_core import get_engine
from oumi_core.configs import InferenceConfig
from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.types import Completion, ContentItem, Conversation, Message, ToolDefinition

if TYPE_CHECKING:
    from pathlib import Path

ALL = Capabilities(
    generation=frozenset({"temperature", "logit_bias", "extra_body", "top_p"}),
    guided=frozenset({"json"}),
    images=True,
    tools=True,
)


class Plain(Engine):
    """Answers with JSON that any schema of these tests takes."""

    capabilities = ALL

    async def complete(self, request: Request) -> Completion:
        return Completion(Message("assistant", '{"a": 1, "b": 2}'))


class Opaque:
    """A client, say: an object without a repr of its own."""


def asked(text: str = "hi", **fields: Any) -> Conversation:
    return Conversation([Message("user", text, **fields)])


def reused(folder: Path, first: Any, second: Any) -> bool:
    """Whether the answer of a run with the first pair of config and row serves the second."""
    for fields, row in (first, second):
        with get_engine(Plain, InferenceConfig(), **{"model": "m", **fields}) as engine:
            (result,) = engine.run([row], output_path=folder / "out.jsonl")
        assert result.ok
    return result.reused


def looking(**extra: Any) -> Conversation:
    image = ContentItem("image_url", "http://localhost/a.png", extra=extra)
    return Conversation([Message("user", [image])])


def equipped(*names: str) -> Conversation:
    parameters = {"properties": {name: {"type": "string"} for name in names}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    return Conversation([Message("user", "x")], tools=[ToolDefinition.from_dict(tool)])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(asked(extra={"name": "a"}), asked(extra={"name": "b"}), id="name"),
        pytest.param(asked(), asked(extra={"name": "a"}), id="name-or-none"),
        pytest.param(looking(), looking(detail="high"), id="detail-of-an-image"),
        pytest.param(
            Conversation([Message("tool", "x", tool_call_id="")]),
            Conversation([Message("tool", "x")]),
            id="empty-call-id",
        ),
        pytest.param(equipped("a", "b"), equipped("b", "a"), id="order-in-the-schema-of-a-tool"),
    ],
)
def test_a_row_for_which_other_things_are_sent_gets_no_old_answer(
    tmp_path: Path, first: Conversation, second: Conversation
) -> None:
    assert not reused(tmp_path, ({}, first), ({}, second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({}, {"use_sampling": True}, id="sampling"),
        pytest.param({}, {"engine_args": {"n_ctx": 8}}, id="engine-args"),
        pytest.param({"logit_bias": {1: 1.0}}, {"logit_bias": {1: 2.0}}, id="logit-bias"),
        pytest.param({}, {"temperature": 0.5}, id="temperature"),
        pytest.param({}, {"torch_dtype": "bfloat16"}, id="precision"),
        pytest.param(
            {"json": {"properties": {"a": {}, "b": {}}}},
            {"json": {"properties": {"b": {}, "a": {}}}},
            id="order-in-a-schema",
        ),
    ],
)
def test_a_config_that_asks_for_something_else_gets_no_old_answer(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert not reused(tmp_path, (first, asked()), (second, asked()))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"temperature": 0}, {"temperature": 0.0}, id="whole-float"),
        pytest.param({"top_p": 1}, {"top_p": 1.0}, id="whole-float-that-is-no-default"),
        pytest.param({}, {"temperature": 0.0, "max_new_tokens": 1024}, id="defaults-written-out"),
        pytest.param({}, {"batch_size": 8, "use_cache": True}, id="hints"),
        pytest.param({}, {"freeze_layers": ["a"], "enable_liger_kernel": True}, id="for-training"),
        pytest.param({"torch_dtype": "bf16"}, {"torch_dtype": "bfloat16"}, id="precision"),
        pytest.param({"logit_bias": {5: -1.0}}, {"logit_bias": {"5": -1}}, id="token-as-text"),
        pytest.param(
            {"engine_args": {"a": 1, "b": 2}}, {"engine_args": {"b": 2, "a": 1}}, id="order"
        ),
        pytest.param(
            {"engine_args": {"client": Opaque()}},
            {"engine_args": {"client": Opaque()}},
            id="object",
        ),
    ],
)
def test_what_changes_nothing_that_is_sent_lets_answers_be_reused(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any]
) -> None:
    assert reused(tmp_path, (first, asked()), (second, asked()))


@pytest.mark.parametrize(
    "fields",
    [
        {"logit_bias": {50256: -100.0, "7": 1}},
        {"model_kwargs": {"id2label": {0: "a"}}},
        {"extra_body": {"bias": {1: 2, "x": float("inf")}, "seed": 2**70}},
    ],
    ids=["logit-bias", "model-kwargs", "extra-body"],
)
def test_keys_that_are_numbers_and_numbers_of_any_size_do_not_break_a_run(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    assert reused(tmp_path, (fields, asked()), (fields, asked()))


def test_unknown_fields_of_a_message_may_hold_numbers_as_keys(tmp_path: Path) -> None:
    row = asked(extra={"scores": {1: 2.0}})
    assert reused(tmp_path, ({}, row), ({}, row))


PROGRAM = """
import sys
from oumi_core import get_engine
from oumi_core.types import Conversation, Message

args = {"names": {"a", "b", "c", "d"}, "hook": print, "own": lambda: 1}
engine = get_engine("echo", model="m", engine_args=args)
rows = engine.run([Conversation([Message("user", "x")])], output_path=sys.argv[1])
print([row.reused for row in rows])
"""


def test_another_process_finds_the_answers(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    said = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM, path],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said == ["[False]\n", "[True]\n"]

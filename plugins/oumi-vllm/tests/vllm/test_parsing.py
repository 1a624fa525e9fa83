"""Parsers of reasoning and of tool calls that vLLM has, on texts that larger models write."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from asking import TINY, WEATHER

from oumi_vllm import library
from oumi_vllm.parsing import Parsers
from oumi_vllm.tools import ToolUse

pytestmark = [
    pytest.mark.slow,  # importing vLLM takes ten seconds
    pytest.mark.filterwarnings("default"),  # torch and its kin warn of themselves
]

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
USE = ToolUse([WEATHER.to_dict()], "hermes")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The tiny model's, with the tokens that a reasoning model has."""
    library.import_vllm()
    transformers = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    tokenizer.add_tokens(["<think>", "</think>"])
    return tokenizer


def test_reasoning_is_told_from_the_answer(tokenizer: Any) -> None:
    parsers = Parsers(tokenizer, ToolUse(), library.reasoning_parser("deepseek_r1"), {})

    assert parsers.read("<think>Hm.</think>Rome.") == ("Hm.", "Rome.", [])


def test_reasoning_is_told_apart_piece_by_piece(tokenizer: Any) -> None:
    parsers = Parsers(tokenizer, ToolUse(), library.reasoning_parser("deepseek_r1"), {})
    pieces = ["<think>", "Hm", ".", "</think>", "Rome", "."]
    chunks, before = [], ""
    ids: list[int] = []
    for piece in pieces:
        new = tokenizer.encode(piece, add_special_tokens=False)
        chunks.append(parsers.piece(before, piece, ids, new))
        before, ids = before + piece, [*ids, *new]

    assert "".join(chunk.reasoning for chunk in chunks) == "Hm."
    assert "".join(chunk.text for chunk in chunks) == "Rome."


def test_calls_are_told_from_the_text_around_them(tokenizer: Any) -> None:
    parsers = Parsers(tokenizer, USE, None, {})

    reasoning, content, calls = parsers.read(f"I will look.{CALL}")

    assert (reasoning, content) == (None, "I will look.")
    assert [call.get_arguments_dict() for call in calls] == [{"city": "Rome"}]


def test_an_answer_without_a_call_stays_as_it_is(tokenizer: Any) -> None:
    assert Parsers(tokenizer, USE, None, {}).read("It rains.") == (None, "It rains.", [])


def test_only_the_first_call_is_kept_where_one_was_asked_for(tokenizer: Any) -> None:
    one = ToolUse([WEATHER.to_dict()], "hermes", parallel=False)

    assert len(Parsers(tokenizer, USE, None, {}).read(CALL + CALL)[2]) == 2
    assert len(Parsers(tokenizer, one, None, {}).read(CALL + CALL)[2]) == 1


def test_a_call_is_looked_for_after_the_reasoning(tokenizer: Any) -> None:
    parsers = Parsers(tokenizer, USE, library.reasoning_parser("deepseek_r1"), {})

    reasoning, content, calls = parsers.read(f"<think>Hm.</think>{CALL}")

    assert (reasoning, content, len(calls)) == ("Hm.", "", 1)

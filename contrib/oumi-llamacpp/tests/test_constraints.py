from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from asking import Ask, request
from oumi_core.errors import ConfigError, EngineError
from oumi_core.guided.check import Accepted, checker_for
from oumi_core.guided.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from oumi_core.types import Completion, FailureKind

if TYPE_CHECKING:
    from oumi_llamacpp.engine import LlamaCppEngine

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 1, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name", "age"],
}
COUNTRIES = ["France", "Italy", "Spain", "Germany", "Japan", "Egypt", "Peru", "Kenya", "Chile"]
PROMPTS = [
    *(f"What is the capital of {country}?" for country in COUNTRIES),
    *(f"What is {a}+{b}?" for a in range(1, 7) for b in range(1, 7)),
    *("Hello!", "Tell me a story.", "Roll a die.", "Pick a color.", "What is machine learning?"),
]


@pytest.mark.parametrize("temperature", [0.0, 2.0])
@pytest.mark.parametrize(
    "constraint",
    [
        JsonSchema(PERSON),
        Regex(r"[A-Z][a-z]{2,8} is \d{1,3}(?:\.[05])?"),
        Regex(r" \w+ \n"),
        Choice(("yes", "no", 'a "quoted"\nline', "yes and no")),
        Grammar('root ::= "<" word (" " word){0,3} ">"\nword ::= [a-z]{1,6}'),
    ],
    ids=lambda constraint: constraint.kind,
)
def test_a_constraint_holds_on_50_of_50(
    engine: LlamaCppEngine, constraint: Constraint, temperature: float
) -> None:
    check = checker_for(constraint)
    asked = [
        request(prompt, constraint=constraint, temperature=temperature, seed=at, max_new_tokens=400)
        for at, prompt in enumerate(PROMPTS)
    ]

    async def all_of_them() -> list[Completion]:
        return await asyncio.gather(*map(engine.complete, asked))

    # `\w+` has no end; what was cut off fits as far as it goes and is core's to report.
    answers = [
        completion
        for completion in asyncio.run(all_of_them())
        if completion.finish_reason != "length" or constraint != Regex(r" \w+ \n")
    ]

    assert len(PROMPTS) == 50
    assert answers
    assert [a.text for a in answers if not isinstance(check(a.text), Accepted)] == []


def test_an_answer_is_json_on_one_line_without_keys_that_nobody_asked_for(ask: Ask) -> None:
    text = ask(constraint=JsonSchema(PERSON), max_new_tokens=200).text

    assert text == json.dumps(json.loads(text))
    assert json.loads(text).keys() <= PERSON["properties"].keys()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 100},
        {"type": "number", "minimum": 0.5, "maximum": 0.75},
        {"type": "string", "format": "date"},
        {"type": "string", "pattern": "^[a-c]{2}$"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"const": {"x": None}}}},
        {"oneOf": [{"type": "integer", "maximum": 9, "minimum": 0}, {"type": "null"}]},
        {"enum": ["x", 1, None, True]},
        {
            "allOf": [
                {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
                {"type": "object", "properties": {"b": {"const": 2}}, "required": ["b"]},
            ],
            "additionalProperties": True,
            "maxProperties": 2,
        },
        {
            "type": "object",
            "patternProperties": {"^a$": {"enum": [1, 2]}},
            "additionalProperties": False,
            "required": ["a"],
        },
        {
            "$defs": {"Leaf": {"type": "object", "properties": {"v": {"enum": [1, 2]}}}},
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/Leaf"}, "right": {"$ref": "#/$defs/Leaf"}},
            "required": ["left", "right"],
        },
    ],
)
def test_what_is_accepted_is_enforced(ask: Ask, schema: dict[str, Any]) -> None:
    constraint = JsonSchema(schema)

    text = ask(constraint=constraint, temperature=1.0, seed=1, max_new_tokens=200).text

    assert isinstance(checker_for(constraint)(text), Accepted), text


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        (JsonSchema({"type": "array", "uniqueItems": True}), "it has /uniqueItems"),
        (
            JsonSchema({"properties": {"a": {"not": {"type": "string"}}}}),
            "it has /properties/a/not",
        ),
        (JsonSchema({"$ref": "https://example.org/schema"}), "external"),
        (JsonSchema({"oneOf": [{"type": "integer"}, {"type": "number"}]}), "overlap"),
        (JsonSchema({"type": "string", "format": "nonsense"}), "cannot enforce"),
        (JsonSchema(schema=False), "cannot enforce"),
        (Grammar("root ::= ("), "cannot parse this grammar"),
        (Grammar("start ::= a"), "cannot parse this grammar"),
        (Regex("(?=a)b"), "look-ahead"),
    ],
)
def test_what_cannot_be_enforced_is_refused_before_it_is_sent(
    engine: LlamaCppEngine, constraint: Constraint, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        asyncio.run(engine.check_constraint(constraint))
    assert str(caught.value).startswith(f"generation.guided_decoding.{constraint.kind}: ")

    with pytest.raises(EngineError, match=reason) as failed:
        asyncio.run(engine.complete(request(constraint=constraint)))
    assert failed.value.failure.kind is FailureKind.BAD_REQUEST


def test_a_pattern_may_begin_and_end_with_blanks(ask: Ask) -> None:
    text = ask(constraint=Regex(r"  [a-z]{3} \n")).text

    assert re.fullmatch(r"  [a-z]{3} \n", text)


def test_an_answer_that_looks_like_reasoning_stays_whole(ask: Ask) -> None:
    text = "<think>no</think>yes"

    assert ask(constraint=Choice((text,))).text == text

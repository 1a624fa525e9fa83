"""A vLLM server holds constraints: all answers fit, and what it cannot hold is refused."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

import pydantic
import pytest
from oumi_core.errors import ConfigError, InferenceFailed
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.types.conversation import Conversation

    from tests.vllm.conftest import Engines

    Ask = Callable[..., list[Conversation]]

QUESTIONS = [
    *(f"What is {a}+{b}?" for a in range(10) for b in range(10)),
    *(f"Who wrote book {number}?" for number in range(50)),
    *(f"Tell me about the number {number}." for number in range(50)),
]
ANSWER = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "pattern": "^[A-Za-z0-9 .,]{0,40}$"},
        "sure": {"type": "boolean"},
    },
    "required": ["answer", "sure"],
    "additionalProperties": False,
}
UNIQUE = {
    "type": "array",
    "items": {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100},
    "minItems": 1,
    "maxItems": 3,
}


class Pet(pydantic.BaseModel):
    kind: Literal["cat", "dog"]
    age: int = pydantic.Field(ge=0, le=30)


class Owner(pydantic.BaseModel):
    name: Literal["Ada", "Grace"]
    best: Pet | None
    pets: list[Pet] = pydantic.Field(max_length=2)


GRAMMAR = """
root ::= "(" sign digit{1,3} ")" | word (", " word){0,2}
sign ::= "+" | "-"
digit ::= [0-9]
word ::= "yes" | "no" | "maybe"
"""


def fits_answer(text: str) -> bool:
    value = json.loads(text)
    return value.keys() == {"answer", "sure"} and isinstance(value["sure"], bool)


@pytest.mark.parametrize(
    ("constraint", "fits"),
    [
        ({"json": ANSWER}, fits_answer),
        (
            {"regex": r"[0-9]{3}-[0-9]{4}|none of (these|those)"},
            re.compile(r"\d{3}-\d{4}|none of (these|those)").fullmatch,
        ),
        (
            {"choice": ["Paris", "42", "I do not know"]},
            ["Paris", "42", "I do not know"].__contains__,
        ),
        (
            {"grammar": GRAMMAR},
            re.compile(r"\([+-]\d{1,3}\)|(yes|no|maybe)(, (yes|no|maybe)){0,2}").fullmatch,
        ),
    ],
    ids=["json", "regex", "choice", "grammar"],
)
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_200_of_200_answers_fit(
    engines: Engines,
    ask: Ask,
    constraint: dict[str, Any],
    fits: Callable[[str], object],
    temperature: float,
) -> None:
    engine = engines(num_workers=64, temperature=temperature, max_new_tokens=256, **constraint)
    results = list(engine.run(ask(*QUESTIONS)))
    assert len(results) == 200
    assert [str(result.error) for result in results if not result.ok] == []
    assert all(result.checked for result in results)
    assert all(fits(str(one.conversation.messages[-1].content)) for one in results)


def test_a_stream_holds_its_constraint_too(engines: Engines, ask: Ask) -> None:
    stream = engines(choice=["Paris", "London"]).stream(ask("What is the capital of France?")[0])
    assert "".join(stream) == "Paris"


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ({"regex": "(?=P)Paris"}, "regex: .*does not take this regex.*look-around"),
        ({"regex": "(?i)paris"}, "regex: .*does not take this regex"),
        ({"json": {"type": "string", "not": {"const": "a"}}}, "json: vLLM would ignore 'not' at /"),
        (
            {"json": {"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 2}},
            "json: .*does not take this json",
        ),
    ],
)
def test_what_it_cannot_hold_is_refused_before_the_first_row(
    engines: Engines, ask: Ask, constraint: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"generation\.guided_decoding\.{reason}"):
        engines(**constraint).infer(ask("Hello!"))
    assert engines().infer(ask("Hello!"))  # and the server lives


def test_json_that_is_cut_fails_its_row(engines: Engines, ask: Ask) -> None:
    with pytest.raises(InferenceFailed) as caught:
        engines(json=ANSWER, max_new_tokens=4).infer(ask("Hello!"))
    (result,) = caught.value.results
    assert result.error is not None
    assert result.error.kind is FailureKind.TRUNCATED


def test_white_space_in_json_is_bounded(engines: Engines, ask: Ask) -> None:
    for result in engines(json=ANSWER, temperature=1.5).run(ask(*QUESTIONS[:40])):
        assert result.ok, result.error
        text = str(result.conversation.messages[-1].content)
        outside = re.sub(r'"(?:[^"\\\\]|\\\\.)*"', '""', text)
        assert re.search(r"\s\s", outside) is None


@pytest.mark.parametrize("schema", [Owner.model_json_schema(), UNIQUE], ids=["xgrammar", "another"])
def test_schemas_with_references_and_for_other_backends_hold(
    engines: Engines, ask: Ask, schema: dict[str, Any]
) -> None:
    for result in engines(json=schema, max_new_tokens=400).run(ask(*QUESTIONS[:20])):
        assert result.ok, result.error


def test_a_structural_tag_holds_the_answers(engines: Engines, ask: Ask) -> None:
    tag = {"type": "structural_tag", "format": {"type": "regex", "pattern": "[A-Z]{5}"}}
    for result in engines(engine_args={"structural_tag": tag}).run(ask(*QUESTIONS[:8])):
        assert re.fullmatch("[A-Z]{5}", str(result.conversation.messages[-1].content))


def test_the_fields_of_before_would_be_ignored(engines: Engines, ask: Ask) -> None:
    with pytest.raises(InferenceFailed, match="guided_regex: vLLM ignores it"):
        engines(extra_body={"guided_regex": "[0-9]{3}"}).infer(ask("Hello!"))

"""What of a JSON Schema vLLM would ignore, and what it would not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from oumi_core.guided.vllm_schemas import ignored_parts, needs_another_backend
from pydantic import BaseModel, Field

CASES = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "ignored.jsonl").read_text().splitlines()
]
"""Each with a value that does not fit and that vLLM lets pass: `tests/vllm` shows that it does."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_part_that_vllm_ignores_is_named_with_its_place(case: dict[str, Any]) -> None:
    first, *_ = ignored_parts(case["schema"])
    assert first.startswith(case["told"])


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = Field(default_factory=list, max_length=3)


class Owner(BaseModel):
    """Someone with pets."""

    name: str = Field(pattern="^[A-Z]")
    age: Annotated[int | None, Field(ge=0)] = None
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    friends: list[Owner] = []
    size: Literal["small", "large"] = "small"
    scores: dict[str, float] = {}
    point: tuple[int, int] = (0, 0)
    best: Cat | None = None


@pytest.mark.parametrize(
    "schema",
    [
        Owner.model_json_schema(),
        True,
        {},
        {"type": "string", "enum": ["a", "b"], "title": "Letters", "default": "a"},
        {"type": ["number", "null"], "enum": [1, 2.5, None]},
        {"type": "object", "const": {"a": 1}},
        {"type": "string", "const": "cat", "enum": ["cat"]},
        {"type": "string", "const": "cat", "enum": [1, "cat"]},
        {"const": "\ud800", "enum": ["\ud800"]},
        {"type": "number", "anyOf": [{"type": "integer"}, {"const": 2.5}]},
        {"$ref": "#/$defs/A", "description": "it", "$defs": {"A": {"type": "integer"}}},
        {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {"items": {"type": "integer"}, "minItems": 1},
        {"allOf": [{"type": "integer"}, {"minimum": 5, "type": "integer"}]},
        {"type": "object", "properties": {"not": {"type": "integer"}, "if": {"type": "null"}}},
        {"enum": [{"not": 1}], "description": "not a schema in there"},
    ],
    ids=str,
)
def test_what_vllm_holds_is_let_pass(schema: Any) -> None:
    assert ignored_parts(schema) == []


def test_values_are_of_their_types() -> None:
    every = [None, True, 1, 2.5, "a", [1], {"a": 1}]
    for names in (["null"], ["boolean"], ["integer"], ["string"], ["array"], ["object"]):
        fits = [value for value in every if not ignored_parts({"type": names, "enum": [value]})]
        assert len(fits) == 1
    assert not ignored_parts({"type": "number", "enum": [1, 2.5]})


@pytest.mark.parametrize("options", [["dog"], [True], [[1]]])
def test_an_enum_beside_a_const_that_it_does_not_list_is_ignored(options: list[Any]) -> None:
    (ignored,) = ignored_parts({"const": 1, "enum": options})
    assert ignored.startswith("'enum' at /")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "integer", "multipleOf": 5},
        {"type": "array", "uniqueItems": True},
        {"type": ["array", "null"], "contains": {"const": 1}},
        {"type": "string", "format": "credit-card"},
        {"type": "string", "pattern": "^a*$", "minLength": 3},
        {"allOf": [{"type": "integer"}, {"type": "number"}]},
        {"type": "object", "patternProperties": {"^a": {}}, "properties": {"b": {}}},
        {"type": "object", "patternProperties": {"^a": {}, "^b": {}}},
        {"type": "object", "propertyNames": {"pattern": "^a", "maxLength": 3}},
        {"type": "object", "propertyNames": {"enum": ["a"]}, "properties": {"a": {}}},
    ],
    ids=str,
)
def test_a_schema_beyond_xgrammar_is_known(part: dict[str, Any]) -> None:
    assert needs_another_backend({"type": "array", "items": {"anyOf": [part]}})


@pytest.mark.parametrize(
    "part",
    [
        Owner.model_json_schema(),
        {"type": "string", "format": "date"},
        {"type": "object", "propertyNames": {"pattern": "^a"}},
        {"type": "object", "patternProperties": {"^a": {"type": "null"}}},
        {"type": "array", "items": {"type": "number", "minimum": 1}},
        {},
        True,
    ],
    ids=str,
)
def test_a_schema_for_xgrammar_is_known(part: Any) -> None:
    assert not needs_another_backend(part)

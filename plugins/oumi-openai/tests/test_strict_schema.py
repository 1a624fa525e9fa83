"""What becomes of a schema in strict mode, and what comes back."""

from __future__ import annotations

import enum
import json
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pydantic
import pytest
from jsonschema import Draft202012Validator

from oumi_openai.strict_schema import Fit, Impossible, StrictForm, strict_form

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def record(required: list[str] | None = None, /, **properties: Any) -> dict[str, Any]:
    names = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": names}


def form_of(schema: Any) -> StrictForm:
    form = strict_form(schema)
    assert isinstance(form, StrictForm), form
    return form


def narrowed(schema: Any, answer: Any) -> Any:
    """What an answer in the strict form stands for; both ends are checked."""
    form = form_of(schema)
    Draft202012Validator(form.schema).validate(answer)
    value = json.loads(form.narrowed(json.dumps(answer)))
    Draft202012Validator(schema).validate(value)
    return value


@pytest.mark.parametrize(
    "answer", ["{", '{"note": "\ud800"}', "[" * 9999], ids=["cut", "half", "deep"]
)
def test_an_answer_that_is_no_json_is_left_alone(answer: str) -> None:
    form = form_of(record([], note=TEXT))
    assert form.fit is Fit.WIDENED
    assert form.narrowed(answer) == answer


def test_a_schema_without_optional_properties_is_exact_and_its_answers_are_left_alone() -> None:
    form = form_of(record(name=TEXT, age={"type": "integer", "minimum": 0}))
    assert form.fit is Fit.EXACT
    assert form.schema == {
        "type": "object",
        "properties": {"name": TEXT, "age": {"type": "integer", "minimum": 0}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    answer = '{ "name": "Ada",  "age": 36 }'
    assert form.narrowed(answer) == answer


def test_an_optional_property_is_nullable_and_its_null_is_dropped() -> None:
    schema = record(["name"], name=TEXT, age=NUMBER)
    form = form_of(schema)
    assert form.fit is Fit.WIDENED
    assert form.schema["properties"]["age"] == {"anyOf": [NUMBER, {"type": "null"}]}
    assert form.schema["required"] == ["name", "age"]
    assert narrowed(schema, {"name": "Ada", "age": None}) == {"name": "Ada"}
    assert narrowed(schema, {"name": "Ada", "age": 36}) == {"name": "Ada", "age": 36}


def test_a_null_that_the_schema_allows_stays() -> None:
    schema = record([], note={"type": ["string", "null"]})
    assert form_of(schema).fit is Fit.EXACT
    assert narrowed(schema, {"note": None}) == {"note": None}


def test_a_map_is_a_list_of_entries_and_a_map_again() -> None:
    schema = record(marks={"type": "object", "additionalProperties": record([], n=NUMBER)})
    sent = {"marks": [{"key": "a", "value": {"n": 1}}, {"key": "b", "value": {"n": None}}]}
    assert narrowed(schema, sent) == {"marks": {"a": {"n": 1}, "b": {}}}


def test_the_names_of_a_map_are_held() -> None:
    schema = {
        "type": "object",
        "additionalProperties": NUMBER,
        "propertyNames": {"enum": ["x", "y"]},
    }
    assert narrowed(schema, {"value": [{"key": "x", "value": 1}]}) == {"x": 1}
    strict = Draft202012Validator(form_of(schema).schema)
    assert not strict.is_valid({"value": [{"key": "z", "value": 1}]})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "array", "items": TEXT}, ["a", "b"]),
        (TEXT, "a"),
        ({"enum": ["a", 1, None]}, None),
        ({"anyOf": [record(a=TEXT), record(b=NUMBER)]}, {"b": 1}),
    ],
)
def test_a_root_that_is_no_object_is_wrapped(schema: Any, value: Any) -> None:
    form = form_of(schema)
    assert form.fit is Fit.EXACT
    assert form.is_wrapped
    assert narrowed(schema, {"value": value}) == value


def test_the_form_of_a_union_decides_what_is_dropped() -> None:
    schema = record(
        pet={
            "anyOf": [
                record(["kind"], kind={"const": "cat"}, lives=NUMBER),
                record(kind={"const": "dog"}, lives={"type": "null"}),
            ]
        }
    )
    assert narrowed(schema, {"pet": {"kind": "cat", "lives": None}}) == {"pet": {"kind": "cat"}}
    dog = {"pet": {"kind": "dog", "lives": None}}
    assert narrowed(schema, dog) == dog


def test_recursion_through_the_root_and_through_definitions() -> None:
    schema = {
        "$defs": {
            "node": record(["id"], id=NUMBER, next={"$ref": "#/$defs/node"}),
            "list": {"type": "array", "items": {"$ref": "#/$defs/list"}},
        },
        "type": "object",
        "properties": {
            "node": {"$ref": "#/$defs/node"},
            "list": {"$ref": "#/$defs/list"},
            "again": {"$ref": "#"},
        },
        "required": ["node", "list"],
    }
    inner = {"id": 1, "next": {"id": 2, "next": None}}
    answer: dict[str, Any] = {"node": inner, "list": [[], [[]]], "again": None}
    assert narrowed(schema, answer) == {
        "node": {"id": 1, "next": {"id": 2}},
        "list": [[], [[]]],
    }
    twice = {"node": inner, "list": [], "again": answer}
    assert narrowed(schema, twice)["again"] == narrowed(schema, answer)


def test_a_root_that_is_a_reference_is_put_in_its_place() -> None:
    node = record(["id"], id=NUMBER, next={"$ref": "#/$defs/node"})
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node}}
    form = form_of(schema)
    assert "$defs" not in form.schema
    assert form.schema["properties"]["next"] == {"anyOf": [{"$ref": "#"}, {"type": "null"}]}
    assert narrowed(schema, {"id": 1, "next": {"id": 2, "next": None}}) == {
        "id": 1,
        "next": {"id": 2},
    }


def test_descriptions_are_kept_and_notes_to_programs_are_not() -> None:
    schema = record(a={"$ref": "#/$defs/a", "description": "which", "default": "x"})
    schema["$defs"] = {"a": {**TEXT, "examples": ["x"], "title": "A"}}
    form = form_of(schema)
    assert form.schema["properties"]["a"] == {
        "anyOf": [{"$ref": "#/$defs/a"}],
        "description": "which",
    }
    assert form.schema["$defs"] == {"a": {**TEXT, "title": "A"}}


def test_an_enum_keeps_only_what_the_rest_of_the_schema_lets_pass() -> None:
    schema = record(a={"type": "string", "enum": ["a", "bb", 3], "maxLength": 1})
    assert form_of(schema).schema["properties"]["a"] == {"type": "string", "enum": ["a"]}


def test_lengths_are_a_pattern() -> None:
    schema = record(a={**TEXT, "minLength": 1, "maxLength": 3})
    strict = Draft202012Validator(form_of(schema).schema)
    fits = [strict.is_valid({"a": text}) for text in ("", "x", "x\ny", "xx\ny")]
    assert fits == [False, True, True, False]


def test_several_types_are_a_union() -> None:
    schema = record(a={"type": ["string", "array"], "items": NUMBER, "pattern": "^a"})
    assert narrowed(schema, {"a": [1]}) == {"a": [1]}
    assert not Draft202012Validator(form_of(schema).schema).is_valid({"a": "b"})


@pytest.mark.parametrize(
    ("schema", "keyword", "pointer"),
    [
        (True, "type", ""),
        (record(a={}), "type", "/properties/a"),
        (record(a={"description": "anything"}), "type", "/properties/a"),
        (record(a={"not": TEXT}), "not", "/properties/a"),
        (record(a={"if": TEXT, "then": TEXT}), "if", "/properties/a"),
        (record(a={"allOf": [TEXT, {"minLength": 1}]}), "allOf", "/properties/a"),
        (record(a={"oneOf": [TEXT, {"type": ["string", "null"]}]}), "oneOf", "/properties/a"),
        (record(a={"oneOf": [record(b=TEXT), record(c=TEXT)]}), "oneOf", "/properties/a"),
        ({"oneOf": [record([], k={"enum": [at, at + 1]}) for at in (0, 5)]}, "oneOf", ""),
        (
            {"oneOf": [{**record(k={"const": at}), "type": ["object", "null"]} for at in (0, 5)]},
            "oneOf",
            "",
        ),
        (record(a={"anyOf": [TEXT], "type": "string"}), "anyOf", "/properties/a"),
        (record(a={"type": "object"}), "additionalProperties", "/properties/a"),
        (record(["b"], a=TEXT), "required", ""),
        ({**record(a=TEXT), "patternProperties": {"^b": TEXT}}, "patternProperties", ""),
        ({**record(a=TEXT), "minProperties": 1}, "minProperties", ""),
        ({**record(a=TEXT), "propertyNames": {"pattern": "a"}}, "propertyNames", ""),
        ({**record([], a=TEXT), "dependentRequired": {"a": ["b"]}}, "dependentRequired", ""),
        (record(a={"type": "array"}), "items", "/properties/a"),
        (record(a={"type": "array", "prefixItems": [TEXT], "items": TEXT}), "prefixItems", "..."),
        (record(a={"type": "array", "items": TEXT, "uniqueItems": True}), "uniqueItems", "..."),
        (record(a={"type": "array", "items": TEXT, "contains": TEXT}), "contains", "..."),
        (record(a={"type": "array", "items": {"not": TEXT}}), "not", "/properties/a/items"),
        (record(a={**TEXT, "pattern": "(?=a)"}), "pattern", "/properties/a"),
        (record(a={**TEXT, "pattern": "a", "minLength": 1}), "minLength", "/properties/a"),
        (record(a={"enum": [["a"]]}), "enum", "/properties/a"),
        (record(a={"type": "string", "enum": [1]}), "enum", "/properties/a"),
        (record(a={"const": {"b": 1}}), "const", "/properties/a"),
        (record(a={"$id": "http://acme.example/a", **TEXT}), "$id", "/properties/a"),
        (record(a={"$ref": "#b"}) | {"$defs": {"b": {"$anchor": "b", **TEXT}}}, "$ref", "..."),
        (record(**{"a/b~": {"not": TEXT}}), "not", "/properties/a~1b~0"),
        ({"$defs": {"d": {"not": TEXT}}, **record(a={"$ref": "#/$defs/d"})}, "not", "/$defs/d"),
        ({"$defs": {"d": {"$ref": "#/$defs/d"}}, "$ref": "#/$defs/d"}, "$ref", "/$defs/d"),
        ({"anyOf": [TEXT, {"$ref": "#"}]}, "$ref", ""),
        ({"type": "object", "additionalProperties": {"not": TEXT}}, "not", "/additionalProperties"),
        ({"anyOf": [TEXT, {"not": TEXT}]}, "not", "/anyOf/1"),
        ({"minimum": 1, "minLength": 1}, "type", ""),
    ],
)
def test_what_is_impossible_is_named_with_its_place(
    schema: Any, keyword: str, pointer: str
) -> None:
    found = strict_form(schema)
    assert isinstance(found, Impossible)
    assert found.keyword == keyword
    assert found.pointer == (pointer if pointer != "..." else "/properties/a")
    assert str(found).startswith(f"{keyword!r} at {found.pointer or '/'}: ")


def nested(depth: int) -> dict[str, Any]:
    return record(a=nested(depth - 1)) if depth > 1 else record(a=TEXT)


@pytest.mark.parametrize(
    ("fits", "too_much", "keyword"),
    [
        (nested(10), nested(11), "properties"),
        (
            record(**{f"p{n}": TEXT for n in range(5000)}),
            record(**{f"p{n}": TEXT for n in range(5001)}),
            "properties",
        ),
        (record(a={"enum": list(range(1000))}), record(a={"enum": list(range(1001))}), "enum"),
        (
            record(a={"enum": [f"{n:060}" for n in range(250)]}),
            record(a={"enum": [f"{n:060}" for n in range(251)]}),
            "enum",
        ),
        (record(**{"p" * 119_999: TEXT}), record(**{"p" * 120_001: TEXT}), "properties"),
    ],
)
def test_the_limits_of_openai(fits: Any, too_much: Any, keyword: str) -> None:
    assert isinstance(strict_form(fits), StrictForm)
    found = strict_form(too_much)
    assert isinstance(found, Impossible)
    assert found.keyword == keyword


def test_a_wrapper_counts_as_a_level() -> None:
    assert isinstance(strict_form({"type": "array", "items": nested(9)}), StrictForm)
    assert isinstance(strict_form({"type": "array", "items": nested(10)}), Impossible)


@pytest.mark.parametrize("text", ["", "{", "no JSON", '{"other": 1}', "[1]", "null", '"a"'])
def test_an_answer_that_is_not_in_the_form_is_left_for_the_check(text: str) -> None:
    assert form_of({"type": "array", "items": TEXT}).narrowed(text) == text


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    name: str | None = None


class Owner(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    color: Color = pydantic.Field(default=Color.RED, description="of the house")
    marks: dict[str, int]
    friends: list[Owner] = []
    size: Annotated[int, pydantic.Field(gt=0)] | str = 3


def test_a_pydantic_model() -> None:
    answer = {
        "pet": {"kind": "cat", "lives": None},
        "color": None,
        "marks": [{"key": "math", "value": 1}],
        "friends": None,
        "size": 4,
    }
    value = narrowed(Owner.model_json_schema(), answer)
    owner = Owner.model_validate(value)
    assert owner == Owner(pet=Cat(), marks={"math": 1}, size=4)


@attrs.define
class Tree:
    label: str
    weight: float = 0.5
    children: list[Tree] = attrs.field(factory=list)


def test_an_attrs_class() -> None:
    answer = {
        "label": "a",
        "weight": 1.5,
        "children": [{"label": "b", "weight": None, "children": None}],
    }
    value = narrowed(msgspec.json.schema(Tree), answer)
    assert msgspec.convert(value, Tree) == Tree("a", 1.5, [Tree("b")])

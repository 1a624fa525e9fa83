"""A schema that no answer could be checked against is refused before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from oumi_core.configs import GuidedDecodingParams
from oumi_core.errors import ConfigError
from oumi_core.guided.check import Accepted, Fault, checker_for
from oumi_core.guided.constraint import JsonSchema, constraint_of

if TYPE_CHECKING:
    from collections.abc import Callable

AWAY: dict[str, Any] = {"$ref": "http://127.0.0.1:9/s.json"}
WHOLE = {"type": "integer"}


def check_of(schema: Any) -> Callable[[str], Accepted | Fault]:
    return checker_for(constraint_of(GuidedDecodingParams(json=schema)))


@pytest.mark.parametrize("name", ["default", "enum", "const", "examples"])
def test_a_reference_below_a_property_of_any_name_is_looked_at(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"\$ref at /properties/{name} leads to"):
        check_of({"properties": {name: AWAY}})


@pytest.mark.parametrize("keyword", ["default", "const", "examples", "enum"])
def test_what_looks_like_a_reference_inside_a_value_is_none(keyword: str) -> None:
    value: Any = [AWAY] if keyword in ("enum", "examples") else AWAY
    check = check_of({keyword: value, "properties": {"$ref": {"type": "string"}}})
    assert check('{"$ref": "http://127.0.0.1:9/s.json"}') == Accepted(AWAY)


def test_a_dynamic_reference_out_of_the_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\$dynamicRef at /items leads to '#node'"):
        check_of({"items": {"$dynamicRef": "#node"}})


def test_a_dynamic_reference_inside_the_schema_is_followed() -> None:
    tree = {"$dynamicAnchor": "node", "type": "array", "items": {"$dynamicRef": "#node"}}
    assert check_of(tree)("[[], [[]]]") == Accepted([[], [[]]])
    assert isinstance(check_of(tree)("[[1]]"), Fault)


def test_a_reference_inside_an_embedded_schema_starts_from_that_schema() -> None:
    embedded = {"$id": "http://localhost/n", "$ref": "#/$defs/whole", "$defs": {"whole": WHOLE}}
    check = check_of({"properties": {"n": embedded}})
    assert check('{"n": 1}') == Accepted({"n": 1})
    assert isinstance(check('{"n": "1"}'), Fault)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"allOf": [{"type": "object"}, {"$ref": "#"}]},
        {"items": {"anyOf": [{"type": "null"}, {"$ref": "#/items"}]}},
        {"if": {"type": "object"}, "then": {"$ref": "#"}},
        {"$dynamicAnchor": "me", "not": {"$dynamicRef": "#me"}},
    ],
)
def test_a_reference_that_comes_back_to_the_same_value_is_refused(schema: Any) -> None:
    with pytest.raises(ConfigError, match="leads back to itself"):
        check_of(schema)


@pytest.mark.parametrize("target", ["#/title", "#/allOf/x", "#/allOf/7", "#/required"])
def test_a_reference_to_what_is_no_schema_is_refused(target: str) -> None:
    schema = {"title": "t", "required": ["a"], "allOf": [True], "items": {"$ref": target}}
    with pytest.raises(ConfigError, match=r"\$ref at /items leads to"):
        check_of(schema)


def test_a_schema_outside_the_keywords_is_checked_where_a_reference_leads_to_it() -> None:
    used = {"items": {"$ref": "#/parts/a"}, "parts": {"a": {"items": AWAY}, "b": {"$ref": "x"}}}
    with pytest.raises(ConfigError) as caught:
        check_of(used)
    assert len(caught.value.faults) == 1
    assert "$ref at /parts/a/items" in caught.value.faults[0]
    with pytest.raises(ConfigError, match="not a JSON Schema at /parts/a/type"):
        check_of({"items": {"$ref": "#/parts/a"}, "parts": {"a": {"type": "objekt"}}})


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"items": {"pattern": r"\p{L}+"}}, "at /items/pattern: .* is not a 'regex'"),
        ({"pattern": "a{99999999999}"}, "not a JSON Schema: a pattern"),
        ({"$schema": "http://localhost/other"}, r"\$schema: no draft of JSON Schema"),
        ({"$schema": {}}, r"\$schema: no draft of JSON Schema"),
        ({"enum": [float("nan")]}, "at /enum/0: not a value of JSON"),
        ({"properties": {"a": {"const": {1, 2}}}}, "at /properties/a/const: not a value of JSON"),
        ({"properties": {5: {}}}, "at /properties: the key 5 is no text"),
        ('{"minimum": NaN}', "not JSON"),
    ],
)
def test_a_schema_that_would_fail_every_row_is_a_config_error(schema: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_of(schema)


def test_a_schema_that_is_nested_too_deeply_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        check_of('{"items":' * 300 + "{}" + "}" * 300)


@attrs.frozen
class Holder:
    part: complex


def test_a_class_that_has_no_schema_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"json: Holder has no JSON Schema: "):
        check_of(Holder)


def test_a_pydantic_class_that_has_no_schema_is_a_config_error() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        part: Holder

    with pytest.raises(ConfigError, match=r"json: Model has no JSON Schema: Pydantic"):
        check_of(Model)


def test_older_drafts_are_read_by_their_own_rules() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "definitions": {"n": {"$id": "#n", **WHOLE}},
        "items": {"$ref": "#n"},
    }
    assert check_of(schema)("[1]") == Accepted([1])
    assert isinstance(constraint_of(GuidedDecodingParams(json=schema)), JsonSchema)

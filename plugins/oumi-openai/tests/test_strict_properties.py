"""For schemas of the common shapes: what fits the strict form fits the original afterwards.

jsonschema is the judge of both ends. Values are drawn from the strict form itself, which is a
small language, so that they look like answers of a server that holds it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from oumi_openai.strict_schema import Fit, Impossible, StrictForm, strict_form

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = st.sampled_from(["a", "b", "name", "x/y", "tilde~", "value", "key"])
_DEFINITIONS = ("node", "leaf")
_DEEPEST = 6

_SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "format": "uri"},
            {"type": "string", "minLength": 1, "maxLength": 4},
            {"type": "string", "pattern": r"^\d{2}-[a-c]+$"},
            {"type": "integer", "minimum": -3, "exclusiveMaximum": 9},
            {"type": "number", "multipleOf": 0.5},
            {"type": "boolean", "default": False},
            {"type": "null"},
            {"type": ["string", "null"], "default": None},
            {"const": "only"},
            {"$ref": "#/$defs/leaf"},
            {"$ref": "#/$defs/node", "description": "again"},
            {"$ref": "#"},
            {"allOf": [{"$ref": "#/$defs/leaf"}]},
        ]
    ),
    st.lists(
        st.one_of(st.sampled_from(["x", "y", "", 0, 1.5, True, None]), st.integers(0, 5)),
        min_size=1,
        max_size=4,
    ).map(lambda values: {"enum": values}),
)


def _records(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    @st.composite
    def record(draw: st.DrawFn) -> dict[str, Any]:
        properties: dict[str, Any] = draw(st.dictionaries(_NAMES, inner, max_size=4))
        required = (
            draw(st.lists(st.sampled_from(sorted(properties)), unique=True, max_size=4))
            if properties
            else []
        )
        schema: dict[str, Any] = {"type": "object", "properties": properties, "title": "T"}
        says_so = draw(st.booleans())
        if required or says_so:
            schema["required"] = required
        others: bool | None = draw(st.sampled_from([None, False, True]))
        if others is not None:
            schema["additionalProperties"] = others
        return schema

    return record()


def _tagged(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A union told apart by a property, as pydantic writes it: required or not."""

    @st.composite
    def union(draw: st.DrawFn) -> dict[str, Any]:
        branches = []
        for tag in ("cat", "dog"):
            branch = draw(_records(inner))
            branch["properties"]["kind"] = {"const": tag, "default": tag}
            if draw(st.booleans()):
                branch["required"] = [*branch.get("required", ()), "kind"]
            branches.append(branch)
        return {"oneOf": branches, "discriminator": {"propertyName": "kind"}}

    return union()


_SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        _records(inner),
        _tagged(inner),
        st.tuples(inner, st.integers(0, 2)).map(
            lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1]}
        ),
        inner.map(lambda value: {"type": "object", "additionalProperties": value}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
        st.lists(inner, min_size=2, max_size=2).map(lambda some: {"oneOf": some}),
        inner.map(lambda value: {"anyOf": [value, {"type": "null"}]}),
    ),
    max_leaves=8,
)


@st.composite
def whole_schemas(draw: st.DrawFn) -> dict[str, Any]:
    root = draw(_records(_SCHEMAS) | _SCHEMAS)
    definitions = {name: draw(_records(_SCHEMAS) | _SCHEMAS) for name in _DEFINITIONS}
    return {**root, "$defs": definitions}


class TooDeep(Exception):
    """A value had to go on for too long."""


class _Values:
    """Draws values of one strict form."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any], root: dict[str, Any]) -> None:
        self._draw = draw
        self._root = root

    def of(self, schema: dict[str, Any], depth: int = 0) -> Any:
        if depth > 2 * _DEEPEST:
            raise TooDeep
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            return self.of(self._root if name == "#" else self._root["$defs"][name], depth + 1)
        if "anyOf" in schema:
            return self.of(self._form(schema["anyOf"], depth), depth + 1)
        if "enum" in schema:
            return self._draw(st.sampled_from(schema["enum"]))
        return getattr(self, f"_{schema['type']}")(schema, depth)

    def _form(self, forms: list[dict[str, Any]], depth: int) -> Any:
        simple = [one for one in forms if one.get("type") not in (None, "object", "array")]
        return self._draw(st.sampled_from(simple if simple and depth > _DEEPEST else forms))

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        return {name: self.of(one, depth + 1) for name, one in schema["properties"].items()}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least = schema.get("minItems", 0)
        count = self._draw(st.integers(least, least if depth > _DEEPEST else least + 2))
        return [self.of(schema["items"], depth + 1) for _ in range(count)]

    def _string(self, schema: dict[str, Any], depth: int) -> Any:
        if "pattern" not in schema:
            return self._draw(st.text(max_size=3))
        # Python's `$` alone also lets a last newline pass.
        exact = re.sub(r"\$$", r"\\Z", schema["pattern"])
        return self._draw(st.from_regex(exact).map(str))

    def _integer(self, schema: dict[str, Any], depth: int) -> Any:
        return self._draw(st.integers(schema.get("minimum", -9), 8))

    def _number(self, schema: dict[str, Any], depth: int) -> float:
        step: float = schema.get("multipleOf", 0.25)
        return step * int(self._draw(st.integers(-9, 9)))

    def _boolean(self, schema: dict[str, Any], depth: int) -> Any:
        return self._draw(st.booleans())

    def _null(self, schema: dict[str, Any], depth: int) -> None:
        return None


def at_pointer(schema: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        schema = schema[int(name)] if isinstance(schema, list) else schema[name]
    return schema


@given(whole_schemas(), st.data())
def test_what_fits_the_strict_form_fits_the_original(
    schema: dict[str, Any], data: st.DataObject
) -> None:
    form = strict_form(schema)
    if isinstance(form, Impossible):
        event(f"impossible: {form.keyword}")
        # The place is one of the schema, and the keyword stands there, or is what is missing.
        assert isinstance(at_pointer(schema, form.pointer), dict | bool)
        return
    event(form.fit)
    value = _drawn(form, data)
    judge = Draft202012Validator(schema)
    text = json.dumps(value)
    assert list(judge.iter_errors(json.loads(form.narrowed(text)))) == []
    if form.fit is Fit.EXACT and form.back is None:
        assert form.narrowed(text) == text


def _drawn(form: StrictForm, data: st.DataObject) -> Any:
    try:
        value = _Values(data.draw, dict(form.schema)).of(dict(form.schema))
    except TooDeep:
        assume(False)
    Draft202012Validator(form.schema).validate(value)
    return value


@given(whole_schemas())
def test_every_object_of_a_strict_form_names_and_requires_all_that_it_may_hold(
    schema: dict[str, Any],
) -> None:
    form = strict_form(schema)
    if isinstance(form, Impossible):
        return
    Draft202012Validator.check_schema(form.schema)
    assert form.schema["type"] == "object"
    pending: list[Any] = [form.schema]
    while pending:
        part = pending.pop()
        assert part.keys() <= {
            *("type", "properties", "required", "additionalProperties", "items", "enum", "anyOf"),
            *("minItems", "minimum", "exclusiveMaximum", "multipleOf", "pattern"),
            *("$ref", "$defs", "title", "description"),
        }
        if part.get("type") == "object":
            assert part["required"] == list(part["properties"])
            assert part["additionalProperties"] is False
        pending += [*part.get("properties", {}).values(), *part.get("anyOf", ())]
        pending += [*part.get("$defs", {}).values(), *([part["items"]] if "items" in part else [])]


_NULL = {"type": "null"}
_IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "not": {"not": _NULL},
    "if": {"if": _NULL, "then": _NULL},
    "uniqueItems": {"type": "array", "items": _NULL, "uniqueItems": True},
    "patternProperties": {
        "type": "object",
        "properties": {},
        "patternProperties": {"a": _NULL},
    },
}


@pytest.mark.parametrize("keyword", _IMPOSSIBLE)
@given(data=st.data())
def test_what_is_impossible_is_found_wherever_it_stands(keyword: str, data: st.DataObject) -> None:
    schema, pointer = _IMPOSSIBLE[keyword], ""
    outer: Any
    for _ in range(data.draw(st.integers(0, 4))):
        outer, place = data.draw(
            st.sampled_from(
                [
                    ({"type": "object", "properties": {"p": schema}}, "/properties/p"),
                    ({"type": "array", "items": schema}, "/items"),
                    ({"anyOf": [_NULL, schema]}, "/anyOf/1"),
                    ({"type": "object", "additionalProperties": schema}, "/additionalProperties"),
                ]
            )
        )
        schema, pointer = outer, place + pointer
    found = strict_form(schema)
    assert isinstance(found, Impossible)
    assert (found.keyword, found.pointer) == (keyword, pointer)

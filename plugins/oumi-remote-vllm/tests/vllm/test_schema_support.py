"""vLLM lets pass what the engine refuses, and holds what the engine lets pass."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from oumi_core.guided.vllm_schemas import ignored_parts, needs_another_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Verdict = Callable[[Any, Any], str]

FOLDER = Path(__file__).parents[1]
CASES = [json.loads(line) for line in (FOLDER / "data" / "ignored.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def verdict() -> Iterator[Verdict]:
    """What vLLM's grammar for a schema says of a value; see `verdicts.py`."""
    with subprocess.Popen(
        [sys.executable, FOLDER / "vllm" / "verdicts.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        to, back = process.stdin, process.stdout
        assert to is not None
        assert back is not None

        def ask(schema: Any, value: Any) -> str:
            to.write(json.dumps([schema, value]) + "\n")
            to.flush()
            return back.readline().strip()

        yield ask
        to.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vllm_takes_the_wrong_value_that_the_engine_refuses_to_ask_for(
    verdict: Verdict, case: dict[str, Any]
) -> None:
    assert verdict(case["schema"], case["wrong"]) == "takes"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.sampled_from([0.5, 2.5, "", "a", "abc"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abxz"), inner, max_size=3)
    ),
    max_leaves=5,
)
SIZES = st.integers(0, 3)


def limits(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas with any of the limits of one type, or of several."""
    of_type: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "string": {
            "minLength": SIZES,
            "maxLength": SIZES,
            "pattern": st.sampled_from(["^a", "c$", "^[a-c]*$", "a|b"]),
        },
        "integer": {"minimum": SIZES, "maximum": SIZES, "exclusiveMinimum": SIZES},
        "number": {"minimum": SIZES, "maximum": st.sampled_from([2.5, 4])},
        "array": {
            "items": inner | st.booleans(),
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "minItems": SIZES,
            "maxItems": SIZES,
            "uniqueItems": st.booleans(),
        },
        "object": {
            "properties": st.dictionaries(st.sampled_from("ab"), inner, min_size=1),
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "additionalProperties": inner | st.booleans(),
            "patternProperties": st.fixed_dictionaries({"^x": inner}),
            "propertyNames": st.sampled_from([{"enum": ["a", "b"]}, {"maxLength": 1}]),
            "maxProperties": st.integers(1, 3),
        },
    }
    of_one_type: list[st.SearchStrategy[dict[str, Any]]] = [
        st.fixed_dictionaries({"type": st.just(name)}, optional=given)
        for name, given in of_type.items()
    ]
    one = st.one_of(of_one_type)
    several = st.tuples(one, one).map(
        lambda pair: {**pair[0], **pair[1], "type": sorted({pair[0]["type"], pair[1]["type"]})}
    )
    untyped = one.map(lambda schema: {k: v for k, v in schema.items() if k != "type"})
    chosen: st.SearchStrategy[Any] = st.builds(
        lambda keyword, options, beside: {keyword: options, **beside},
        st.sampled_from(["anyOf", "allOf"]),
        st.lists(inner, min_size=1, max_size=2),
        st.just({}) | one,
    )
    return one | several | untyped | chosen


SCHEMAS = st.recursive(
    st.sampled_from([{}, {"type": "null"}, {"type": "boolean"}, {"type": "integer"}])
    | st.builds(lambda values: {"enum": values}, st.lists(VALUES, min_size=1, max_size=2)),
    limits,
    max_leaves=6,
)


@given(schema=SCHEMAS, value=VALUES)
@settings(
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_what_is_let_pass_is_held(verdict: Verdict, schema: Any, value: Any) -> None:
    assume(not ignored_parts(schema))
    said = verdict(schema, value)
    assert (said == "another backend") == needs_another_backend(schema)
    event(said)
    if said == "takes":
        jsonschema.Draft202012Validator(schema).validate(value)

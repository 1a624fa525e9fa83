"""The constructors: defaults, checks, and independence from the caller's objects."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from oumi_core.configs import (
    BudgetParams,
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)
from oumi_core.errors import ConfigError

HUGE = 10**400


def faults_of(params: type[Any], *args: Any, **fields: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        params(*args, **fields)
    return caught.value.faults


def test_defaults_are_oumis_except_where_the_document_differs() -> None:
    generation, remote, model = GenerationParams(), RemoteParams(), ModelParams("m")
    assert (generation.max_new_tokens, generation.temperature) == (1024, 0.0)
    assert (generation.batch_size, generation.num_beams, generation.top_p) == (1, 1, None)
    assert (remote.max_retries, remote.politeness_policy, remote.num_workers) == (3, 0.0, None)
    assert (remote.connection_timeout, remote.batch_completion_window) == (300.0, "24h")
    assert (model.trust_remote_code, model.device_map, model.torch_dtype_str) == (
        False,
        "auto",
        "auto",
    )
    empty = InferenceConfig()
    assert (empty.model, empty.generation, empty.remote_params) == (None, None, None)


@pytest.mark.parametrize(
    ("params", "fields", "fault"),
    [
        (BudgetParams, {"deadline": 0}, "deadline: must be greater than 0, is 0"),
        (
            BudgetParams,
            {"max_cost": 5},
            "max_cost: needs prices; give what a million tokens cost in budget.prices",
        ),
        (BudgetParams, {"prices": {"m": {"input": 1}}}, "prices.m.output: is missing"),
        (
            BudgetParams,
            {"prices": {"m": {"input": 1, "output": -1}}},
            "prices.m.output: must be at least 0, is -1",
        ),
        (
            BudgetParams,
            {"prices": {"m": {"input": 1, "output": 1, "cache": 1}}},
            "prices.m.cache: unknown key; known ones are input, output, cached_input",
        ),
        (BudgetParams, {"prices": {"m": 3}}, "prices.m: expected a mapping, got a number"),
        (GenerationParams, {"max_new_tokens": 0}, "max_new_tokens: must be at least 1, is 0"),
        (
            GenerationParams,
            {"max_new_tokens": True},
            "max_new_tokens: expected a whole number, got the boolean true",
        ),
        (
            GenerationParams,
            {"max_new_tokens": 1.0},
            "max_new_tokens: expected a whole number, got the number 1.0",
        ),
        (GenerationParams, {"batch_size": 0}, "batch_size: must be at least 1, is 0"),
        (GenerationParams, {"temperature": -0.1}, "temperature: must be at least 0, is -0.1"),
        (
            GenerationParams,
            {"temperature": "hot"},
            "temperature: expected a number, got the text 'hot'",
        ),
        (
            GenerationParams,
            {"temperature": float("nan")},
            "temperature: must be a finite number, is nan",
        ),
        (
            GenerationParams,
            {"temperature": HUGE},
            "temperature: must be a finite number, is a number of 1329 bits",
        ),
        (GenerationParams, {"top_p": 1.5}, "top_p: must be between 0 and 1, is 1.5"),
        (GenerationParams, {"top_k": 0}, "top_k: must be at least 1, is 0"),
        (
            GenerationParams,
            {"frequency_penalty": 2.5},
            "frequency_penalty: must be between -2 and 2, is 2.5",
        ),
        (
            GenerationParams,
            {"repetition_penalty": 0},
            "repetition_penalty: must be greater than 0, is 0",
        ),
        (GenerationParams, {"stop_strings": "END"}, "stop_strings: expected a list, got text"),
        (GenerationParams, {"stop_strings": ["a", ""]}, "stop_strings[1]: must not be empty"),
        (
            GenerationParams,
            {"logit_bias": {"5": 101}},
            "logit_bias.5: must be between -100 and 100, is 101",
        ),
        (
            GenerationParams,
            {"logit_bias": {1.5: 1}},
            "logit_bias: expected text or a whole number as the key, got the number 1.5",
        ),
        (GenerationParams, {"top_logprobs": 2}, "top_logprobs: needs logprobs: true"),
        (
            GenerationParams,
            {"tool_choice": "auot"},
            (
                "tool_choice: must be one of none, auto, required, "
                '{"type": "function", "function": {"name": ...}}; got the text \'auot\''
            ),
        ),
        (GenerationParams, {"logprobs": None}, "logprobs: expected true or false, got null"),
        (
            GenerationParams,
            {"guided_decoding": {"regex": "a"}},
            "guided_decoding: expected GuidedDecodingParams, got a mapping",
        ),
        (
            GuidedDecodingParams,
            {},
            "json: one of json, regex, choice, grammar is needed, none is given",
        ),
        (
            GuidedDecodingParams,
            {"regex": "(a"},
            "regex: is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
        (GuidedDecodingParams, {"choice": []}, "choice: must not be empty"),
        (
            GuidedDecodingParams,
            {"choice": ["a", "b", "a"]},
            "choice[2]: the text 'a' stands in the list twice",
        ),
        (
            GuidedDecodingParams,
            {"choice": ["a", True]},
            "choice[1]: expected text, got the boolean true; put it in quotes",
        ),
        (
            GuidedDecodingParams,
            {"json": "[1]"},
            "json: must be a JSON Schema, that is an object; the text holds a list",
        ),
        (
            GuidedDecodingParams,
            {"json": "{"},
            (
                "json: is text that is not JSON: "
                "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
            ),
        ),
        (
            GuidedDecodingParams,
            {"json": 3},
            "json: expected a JSON Schema as a mapping, JSON text or a class, got a number",
        ),
        (
            GuidedDecodingParams,
            {"regex": "a", "choice": ["b"]},
            "choice: only one of json, regex, choice, grammar may be given; regex is too",
        ),
        (RemoteParams, {"num_workers": 0}, "num_workers: must be at least 1, is 0"),
        (RemoteParams, {"row_deadline": 0}, "row_deadline: must be greater than 0, is 0"),
        (
            RemoteParams,
            {"retry_backoff_base": 2, "retry_backoff_max": 1},
            "retry_backoff_max: must be at least retry_backoff_base (2), is 1",
        ),
        (
            RemoteParams,
            {"api_url": "http://me:word@host/v1"},
            "api_url: holds a user name or password, which would show in logs; write it in api_key",
        ),
        (
            ModelParams,
            {"model_name": "m", "torch_dtype_str": "float8"},
            (
                "torch_dtype_str: must be one of auto, float32, f32, float, float16, f16, half, "
                "bfloat16, bf16, float64, f64, double; is 'float8'"
            ),
        ),
        (
            ModelParams,
            {"model_name": "m", "torch_dtype": "bf16", "torch_dtype_str": "f16"},
            (
                "torch_dtype: is 'bf16' but torch_dtype_str, the same field by another name, "
                "is 'f16'; give one"
            ),
        ),
        (
            ModelParams,
            {"model_name": "m", "processor_kwargs": {"model_name": "n"}},
            "processor_kwargs.model_name: is a field of its own: write it one level up",
        ),
        (
            ModelParams,
            {"model_name": "m", "model_revision": "a", "model_kwargs": {"revision": "b"}},
            "model_kwargs.revision: differs from model_revision; give model_revision only",
        ),
        (ModelParams, {"model_name": None}, "model_name: expected text, got null"),
        (InferenceConfig, {"engine": ""}, "engine: must not be empty"),
        (
            InferenceConfig,
            {"on_unsupported": "ignore"},
            "on_unsupported: must be one of warn, error; is 'ignore'",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_field(
    params: type[Any], fields: dict[str, Any], fault: str
) -> None:
    assert faults_of(params, **fields) == (fault,)


def test_all_faults_of_an_object_come_in_one_error_that_names_its_class() -> None:
    with pytest.raises(ConfigError) as caught:
        GenerationParams(temperature="hot", top_p=2, top_logprobs=3)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "GenerationParams: 3 faults:\n"
        "  temperature: expected a number, got the text 'hot'\n"
        "  top_p: must be between 0 and 1, is 2\n"
        "  top_logprobs: needs logprobs: true"
    )


@pytest.mark.parametrize(
    ("given", "precision"),
    [("bf16", "bfloat16"), ("half", "float16"), ("float", "float32"), ("double", "float64")],
)
def test_a_precision_may_be_given_by_either_name(given: str, precision: str) -> None:
    by_alias, by_name = ModelParams("m", torch_dtype=given), ModelParams("m", torch_dtype_str=given)
    assert by_alias == by_name
    assert by_alias.torch_dtype == precision
    assert attrs.evolve(by_alias, torch_dtype_str="auto").torch_dtype == "auto"


def test_two_spellings_of_one_precision_agree() -> None:
    params = ModelParams("m", torch_dtype="bf16", torch_dtype_str="bfloat16")
    assert params.torch_dtype == "bfloat16"


def test_a_revision_in_model_kwargs_moves_and_the_callers_mapping_stays() -> None:
    kwargs = {"revision": "abc", "filename": "m.gguf"}
    with pytest.warns(DeprecationWarning, match="model_revision"):
        params = ModelParams("m", model_kwargs=kwargs)
    assert params.model_revision == "abc"
    assert params.model_kwargs == {"filename": "m.gguf"}
    assert kwargs == {"revision": "abc", "filename": "m.gguf"}


def test_later_changes_of_the_callers_containers_do_not_reach_the_params() -> None:
    stops, body = ["a"], {"nested": {"list": [1]}}
    params = GenerationParams(stop_strings=stops, extra_body=body)
    stops.append("b")
    body["nested"]["list"].append(2)
    assert params.stop_strings == ["a"]
    assert params.extra_body == {"nested": {"list": [1]}}


def test_params_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        GenerationParams().temperature = 1.0  # type: ignore[misc]


def test_params_survive_pickling() -> None:
    params = InferenceConfig(model=ModelParams("m"), generation=GenerationParams(top_k=3))
    assert pickle.loads(pickle.dumps(params)) == params  # noqa: S301 - our own bytes


def test_paths_are_taken_as_their_text() -> None:
    config = InferenceConfig(model=ModelParams(Path("m.gguf")), input_path=Path("in.jsonl"))  # type: ignore[arg-type]
    assert config.input_path == "in.jsonl"
    assert config.model is not None
    assert config.model.model_name == "m.gguf"


@attrs.frozen
class Product:
    name: str


@pytest.mark.parametrize("schema", [Product, {"type": "object"}, '{"type": "object"}', "true"])
def test_every_form_of_a_json_schema_is_kept_as_given(schema: Any) -> None:
    params = GuidedDecodingParams(json=schema)
    assert params.json == schema
    assert params.kind == "json"


def test_a_key_appears_in_no_repr_and_no_fault() -> None:
    assert "sk-secret" not in repr(RemoteParams(api_key="sk-secret"))
    assert "sk-secret" not in str(faults_of(RemoteParams, api_key=["sk-secret"]))
    assert "sk-secret" not in str(faults_of(RemoteParams, api_url="http://sk-secret@host"))
    assert "123456" not in str(faults_of(RemoteParams, api_key=123456))


def test_changed_names_what_an_engine_is_asked_for() -> None:
    constraint = GuidedDecodingParams(regex="a")
    params = GenerationParams(
        temperature=0.5,
        top_p=None,
        stop_strings=["x"],
        max_new_tokens=1024,
        batch_size=8,
        use_sampling=True,
        use_cache=True,
        guided_decoding=constraint,
    )
    assert params.changed() == {"temperature", "stop_strings"}
    assert GenerationParams().changed() == frozenset()


def test_a_config_over_another_replaces_whole_sections_and_keeps_the_rest() -> None:
    base = InferenceConfig(
        model=ModelParams("base"),
        generation=GenerationParams(seed=1, top_k=5),
        engine="echo",
        engine_args={"a": 1},
    )
    call = InferenceConfig(generation=GenerationParams(temperature=1.0), engine_args={"b": 2})
    both = call.over(base)
    assert both == InferenceConfig(
        model=ModelParams("base"),
        generation=GenerationParams(temperature=1.0),
        engine="echo",
        engine_args={"b": 2},
    )
    assert InferenceConfig().over(base) == base
    assert base.over(InferenceConfig()) == base


def test_importing_the_configs_imports_nothing_heavy() -> None:
    heavy = {"yaml", "jsonschema", "cattrs", "pydantic", "numpy", "asyncio", "click", "rich"}
    program = "import sys, oumi_core.configs; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert heavy.isdisjoint(done.stdout.split())

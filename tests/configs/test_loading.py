"""Reading and writing configs: YAML, plain data, overrides, and every fault in one error."""

from __future__ import annotations

import contextlib
import datetime as dt
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)
from oumi_core.errors import ConfigError

DATA = sorted((Path(__file__).parent / "data").glob("*.yaml"))
OUMIS = Path(__file__).parents[3] / "shared" / "oumi-configs"


def faults_of(text: str, overrides: tuple[tuple[str, Any], ...] = ()) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        InferenceConfig.from_str(text, overrides=overrides)
    return caught.value.faults


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_a_config_file_loads_and_survives_being_written(path: Path) -> None:
    config = InferenceConfig.from_yaml(path)
    assert config.model is not None
    assert InferenceConfig.from_str(config.to_yaml()) == config
    assert InferenceConfig.from_dict(config.to_dict()) == config


@pytest.mark.skipif(not OUMIS.is_dir(), reason="Oumi's own configs do not lie beside the checkout")
def test_oumis_own_configs_load_unchanged() -> None:
    files = sorted(OUMIS.glob("*.yaml"))
    assert len(files) >= 66
    for path in files:
        config = InferenceConfig.from_yaml(path)
        assert config.model is not None
        assert InferenceConfig.from_str(config.to_yaml()) == config


def test_values_come_as_they_are_written() -> None:
    lora, ours = (
        InferenceConfig.from_yaml(next(path for path in DATA if path.stem == stem))
        for stem in ("vllm_lora", "ours")
    )
    assert lora.model is not None
    assert lora.model.torch_dtype_str == "bfloat16"
    assert lora.model.model_kwargs == {"quantization_config": {"quant_method": "mxfp4"}}
    assert lora.generation is not None
    assert lora.generation.logit_bias == {50256: -100}
    assert lora.engine == "VLLM"
    assert lora.remote_params is None
    assert ours.generation is not None
    assert ours.generation.min_p == pytest.approx(0.01)
    assert ours.generation.guided_decoding is not None
    assert ours.generation.guided_decoding.kind == "json"
    assert ours.remote_params == RemoteParams(api_url="http://localhost:6864", row_deadline=120)


def test_every_fault_is_listed_in_the_order_of_the_text_with_path_and_line() -> None:
    text = """\
model:
  model_nam: x
  torch_dtype: bf16
  torch_dtype: f16
generation:
  temprature: 3
  temperature: hot
  num_workers: 3
  stop_strings: [yes, a]
  guided_decoding:
    choice: []
    backend: 3
  seed: 1.0
remote_params: [1]
xyzzy: 1
"""
    with pytest.raises(ConfigError) as caught:
        InferenceConfig.from_str(text, source="a.yaml")
    assert caught.value.source == "a.yaml"
    assert str(caught.value).startswith("a.yaml: 12 faults:\n  model.model_name: is missing")
    assert caught.value.faults == (
        "model.model_name: is missing (line 1)",
        "model.model_nam: unknown key; did you mean model_name? (line 2)",
        "model.torch_dtype: stands here a second time (line 4)",
        "generation.temprature: unknown key; did you mean temperature? (line 6)",
        "generation.temperature: expected a number, got the text 'hot' (line 7)",
        (
            "generation.num_workers: unknown key here; "
            "it belongs at the top or in remote_params (line 8)"
        ),
        (
            "generation.stop_strings[0]: expected text, got the boolean true; put it in quotes"
            " (line 9)"
        ),
        "generation.guided_decoding.choice: must not be empty (line 11)",
        (
            "generation.guided_decoding.backend: expected text, got the number 3; put it in quotes"
            " (line 12)"
        ),
        "generation.seed: expected a whole number, got the number 1.0 (line 13)",
        "remote_params: expected a mapping, got a list (line 14)",
        (
            "xyzzy: unknown key; known ones are model, generation, input_path, output_path, "
            "progress_path, engine, remote_params, num_workers, engine_args, budget, "
            "batching, on_unsupported (line 15)"
        ),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty; a config has keys such as model, generation, remote_params, budget"),
        (
            "# nothing",
            "is empty; a config has keys such as model, generation, remote_params, budget",
        ),
        (
            "[1]",
            (
                "expected a mapping with keys such as model, generation, remote_params, budget, "
                "got a list"
            ),
        ),
        ("engine: \x00", "is not YAML: it holds a character that YAML does not allow"),
        ("engine: \ud800", "is not YAML: it holds a character that YAML does not allow"),
        ("engine: 2024-12-24", "engine: expected text, got a date; put it in quotes (line 1)"),
        ("engine: 1", "engine: expected text, got the number 1; put it in quotes (line 1)"),
        ("1: a\nengine: a\nengine: b", "engine: stands here a second time (line 3)"),
        ("engine_args: &a {b: *a}", "is nested too deeply, or holds itself"),
        ("model: {model_name: }", "model.model_name: expected text, got null (line 1)"),
        (
            "model: &m {model_name: a, revision: b}",
            "model.revision: unknown key; did you mean model_revision? (line 1)",
        ),
    ],
)
def test_bad_text_is_refused_with_its_reason(text: str, fault: str) -> None:
    assert fault in faults_of(text)


@pytest.mark.parametrize(
    "brackets",
    ["# {}\n", "system_prompt: '{}'\n", "system_prompt: |\n  {}\n", "system_prompt: a {}\n"],
    ids=["comment", "quoted", "block", "plain"],
)
def test_brackets_in_a_text_are_no_levels(brackets: str) -> None:
    above = brackets.replace("{}", "[" * 300)
    (fault,) = faults_of(above + "engine: a: b")
    assert fault.startswith(f"line {above.count(chr(10)) + 1}, column 10: is not YAML: ")
    above = brackets.replace("{}", "]" * 2000)
    assert faults_of(above + "a: " + "[" * 1500) == ("is nested more than 200 levels deep",)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("engine: a: b", "line 1, column 10: is not YAML: "),
        ("engine: a\nmodel: [", "line 3, column 1: is not YAML: "),
        ("a: 1\n---\nb: 2", "line 2, column 1: is not YAML: "),
        ("engine: !python/name:os.system x", "line 1, column 9: is not YAML: "),
        ("engine: 2024-13-45", "is not YAML: a value cannot be read: "),
    ],
)
def test_text_that_is_not_yaml_is_refused_with_its_place(text: str, fault: str) -> None:
    (found,) = faults_of(text)
    assert found.startswith(fault)
    assert len(found) > len(fault)  # the reason is PyYAML's, in its words


def test_text_that_is_not_yaml_is_not_quoted_since_it_may_hold_a_key() -> None:
    assert "sk-secret" not in str(faults_of("remote_params: {api_key: sk-secret"))
    assert "sk-secret" not in str(faults_of("remote_params: sk-secret"))


def test_files_that_cannot_be_read_are_refused_with_their_name(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("engine: caf\xe9".encode("latin-1"))
    cases: list[tuple[str | Path, str]] = [
        (tmp_path / "none.yaml", "there is no such file"),
        (tmp_path, "is a folder; give the path of a YAML file"),
        (latin, "is not UTF-8 text: byte 12 is 0xe9; save it as UTF-8"),
        (latin / "below.yaml", "cannot be read: Not a directory"),
        ("a\0b", "is not a path"),
    ]
    for path, reason in cases:
        with pytest.raises(ConfigError) as caught:
            InferenceConfig.from_yaml(path)
        assert caught.value.faults == (reason,)
        assert caught.value.source == str(path)


def test_a_file_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfengine: echo\n")
    assert InferenceConfig.from_yaml(path) == InferenceConfig(engine="echo")


def test_interpolations_stay_as_they_are_written() -> None:
    assert InferenceConfig.from_str("output_path: ${oc.env:HOME}/x").output_path == (
        "${oc.env:HOME}/x"
    )


def test_merge_keys_and_anchors_work() -> None:
    config = InferenceConfig.from_str(
        "engine_args: &args {a: 1}\nmodel: {model_name: m, model_kwargs: {<<: *args, b: 2}}"
    )
    assert config.model is not None
    assert config.model.model_kwargs == {"a": 1, "b": 2}


def test_sections_may_be_given_as_objects() -> None:
    data: dict[str, Any] = {"model": ModelParams("m"), "generation": {"top_k": 3}}
    assert InferenceConfig.from_dict(data) == InferenceConfig(
        model=ModelParams("m"), generation=GenerationParams(top_k=3)
    )
    assert data == {"model": ModelParams("m"), "generation": {"top_k": 3}}


def test_overrides_win_and_are_typed_by_their_field() -> None:
    path = next(path for path in DATA if path.stem == "vllm_lora")
    config = InferenceConfig.from_yaml(
        path,
        [
            ("model.model_name", "123"),
            ("model.adapter_model", "yes"),
            ("model.torch_dtype_str", "f16"),
            ("model.chat_template", "null"),
            ("model.model_kwargs.quantization_config.bits", "4"),
            ("model.model_kwargs.list[0].x", "1"),
            ("generation.temperature", "1e-1"),
            ("generation.stop_strings[1]", "null"),
            ("generation.stop_strings[2]", "12"),
            ("generation.guided_decoding.choice", "[a, b]"),
            ("remote_params.max_retries", 0),
            ("engine", "echo"),
        ],
    )
    assert config.model == ModelParams(
        "123",
        adapter_model="yes",
        torch_dtype="f16",
        model_kwargs={
            "quantization_config": {"quant_method": "mxfp4", "bits": 4},
            "list": [{"x": 1}],
        },
    )
    assert config.generation is not None
    assert config.generation.temperature == pytest.approx(0.1)
    assert config.generation.stop_strings == ["<end>", "null", "12"]
    assert config.generation.guided_decoding == GuidedDecodingParams(choice=["a", "b"])
    assert config.remote_params == RemoteParams(max_retries=0)
    assert config.engine == "echo"


def test_oumis_argument_lists_work() -> None:
    path = next(path for path in DATA if path.stem == "vllm_lora")
    config = InferenceConfig.from_yaml_and_arg_list(
        path, ["model.model_name=a=b", "generation.stop_strings[0]=x"]
    )
    assert config.model is not None
    assert config.model.model_name == "a=b"
    assert config.generation is not None
    assert config.generation.stop_strings == ["x", "###"]
    with pytest.raises(ConfigError) as caught:
        InferenceConfig.from_yaml_and_arg_list(path, ["engine=a", "sk-secret"])
    assert caught.value.faults == ("override 2: has no '='; write path=value",)


def test_faults_of_overrides_are_listed_after_those_of_the_file() -> None:
    assert faults_of(
        "generation: {top_p: 2, seed: 1, stop_strings: [a]}",
        (
            ("generation.top", "1"),
            ("generation.seed", "x"),
            ("generation.stop_strings[3]", "x"),
            ("generation.seed.x", "1"),
            ("generation.stop_strings.x", "1"),
            ("generation[0]", "1"),
            ("a..b", "1"),
            ("generation.logprobs", "{"),
        ),
    ) == (
        "generation.top_p: must be between 0 and 1, is 2 (line 1)",
        "generation.stop_strings[3]: cannot be set: the list has 1 elements (an override)",
        "generation.seed.x: cannot be set: what is above it is text, not a mapping (an override)",
        (
            "generation.stop_strings.x: cannot be set: what is above it is a list, not a mapping"
            " (an override)"
        ),
        "generation[0]: cannot be set: what is above it is a mapping, not a list (an override)",
        "a..b: is not a path; write keys with dots, and [0] for a list (an override)",
        (
            "generation.logprobs: line 2, column 1: is not YAML: while parsing a flow node, "
            "did not find expected node content (an override)"
        ),
        "generation.top: unknown key; did you mean top_p? (an override)",
        "generation.seed: expected a whole number, got the text 'x' (an override)",
    )


def test_a_section_that_only_an_override_names_is_a_fault_of_the_override() -> None:
    assert faults_of("model: {model_name: m}\n", (("modle.model_name", "x"),)) == (
        "modle: unknown key; did you mean model? (an override)",
    )
    assert faults_of("modle: {}\n", (("modle.model_name", "x"),)) == (
        "modle: unknown key; did you mean model? (line 1)",
    )


def test_a_written_config_holds_no_key(tmp_path: Path) -> None:
    config = InferenceConfig(remote_params=RemoteParams(api_key="sk-secret", max_retries=1))
    path = tmp_path / "out.yaml"
    assert "sk-secret" not in config.to_yaml(path)
    assert "sk-secret" not in str(config.to_dict())
    assert InferenceConfig.from_yaml(path) == InferenceConfig(
        remote_params=RemoteParams(max_retries=1)
    )


def test_what_yaml_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    class Product:
        pass

    config = InferenceConfig(
        generation=GenerationParams(guided_decoding=GuidedDecodingParams(json=Product)),
        engine_args={"a": [object()]},
    )
    with pytest.raises(ConfigError) as caught:
        config.to_yaml()
    assert caught.value.faults == (
        "generation.guided_decoding.json: is the class Product, which YAML cannot hold",
        "engine_args.a[0]: is an object of type object, which YAML cannot hold",
    )
    assert InferenceConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="a text holds a character"):
        InferenceConfig(engine="\ud800").to_yaml()
    with pytest.raises(ConfigError, match="cannot be written: Is a directory"):
        InferenceConfig().to_yaml(tmp_path)


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=6)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.dates(min_value=dt.date(1000, 1, 1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
constraints = (
    st.builds(GuidedDecodingParams, choice=st.lists(words, min_size=1, max_size=3, unique=True))
    | st.builds(GuidedDecodingParams, json=st.dictionaries(words, plain, max_size=2))
    | st.builds(GuidedDecodingParams, grammar=words, strict=st.booleans())
)
configs = st.builds(
    InferenceConfig,
    model=st.none()
    | st.builds(
        ModelParams,
        words,
        torch_dtype=st.sampled_from([None, "bf16", "half", "auto"]),
        model_kwargs=st.dictionaries(
            words.filter(lambda key: key != "revision"), plain, max_size=3
        ),
        freeze_layers=st.lists(words, max_size=2),
        device_map=st.none() | words,
    ),
    generation=st.none()
    | st.builds(
        GenerationParams,
        temperature=st.floats(0, 1e300),
        seed=st.none() | st.integers(),
        batch_size=st.none() | st.integers(1),
        stop_strings=st.none() | st.lists(words, max_size=3),
        logit_bias=st.dictionaries(st.integers() | words, st.floats(-100, 100), max_size=3),
        guided_decoding=st.none() | constraints,
        extra_body=st.dictionaries(words, plain, max_size=3),
    ),
    engine=st.none() | words,
    output_path=st.none() | words,
    engine_args=st.dictionaries(words, plain, max_size=3),
    on_unsupported=st.sampled_from([None, "warn", "error"]),
)


@given(configs)
def test_a_config_written_and_read_again_is_the_same(config: InferenceConfig) -> None:
    text = config.to_yaml()
    assert InferenceConfig.from_str(text) == config
    assert InferenceConfig.from_dict(config.to_dict()) == config


@given(words, st.floats(0, 1), st.integers(1, 1000))
def test_an_override_gives_what_the_file_would_have_given(
    name: str, top_p: float, tokens: int
) -> None:
    written = InferenceConfig.from_dict(
        {"model": {"model_name": "m"}},
        [
            ("model.tokenizer_name", name),
            ("generation.top_p", repr(top_p)),
            ("generation.max_new_tokens", str(tokens)),
        ],
    )
    expected = InferenceConfig(
        model=ModelParams("m", tokenizer_name=None if name in {"null", "~"} else name),
        generation=GenerationParams(top_p=top_p, max_new_tokens=tokens),
    )
    assert written == expected


known_names = st.sampled_from(
    [
        *("model", "generation", "remote_params", "engine", "engine_args", "model_name"),
        *("temperature", "guided_decoding", "choice", "json", "stop_strings", "logit_bias"),
        *("tool_choice", "regex", "torch_dtype", "api_url", "api_key", "seed", "model_kwargs"),
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(known_names | st.text(max_size=4) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(anything, st.lists(st.tuples(st.text(max_size=8) | known_names, anything), max_size=2))
def test_no_data_raises_anything_but_a_config_error(
    data: Any, overrides: list[tuple[str, Any]]
) -> None:
    with contextlib.suppress(ConfigError):
        InferenceConfig.from_dict(data, overrides)


@given(st.text(st.sampled_from("modelgnratin_kwsp:{}[]-&*!<'\"#|>%@ \n\t0.1e\x00\ufeff")))
def test_no_text_raises_anything_but_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        InferenceConfig.from_str(text)


wrong = {
    "temperature": "x",
    "top_p": 2,
    "seed": True,
    "stop_strings": 3,
    "max_new_tokens": 0,
    "tool_choice": 1,
    "logprobs": "yes",
    "no_such_key": 1,
}


@given(st.sets(st.sampled_from(sorted(wrong)), min_size=1))
def test_each_of_several_faults_is_listed_once(keys: set[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        InferenceConfig.from_dict({"generation": {key: wrong[key] for key in keys}})
    assert sorted(fault.split(":")[0] for fault in caught.value.faults) == sorted(
        f"generation.{key}" for key in keys
    )


def test_deep_nesting_is_refused() -> None:
    data: dict[str, Any] = {}
    data["engine_args"] = data
    with pytest.raises(ConfigError, match="nested too deeply, or holds itself"):
        InferenceConfig.from_dict(data)
    for opening, closing in [("[", "]"), ("{a: ", "}"), ("- ", "")]:
        for levels in (200, 1_000, 300_000):
            text = "engine_args:\n  a:\n    " + opening * levels + "1" + closing * levels
            assert faults_of(text) == ("is nested more than 200 levels deep",)
        text = "engine_args:\n  a:\n    " + opening * 198 + "1" + closing * 198
        assert InferenceConfig.from_str(text).engine_args["a"]

"""The JSON Schema for editors agrees with what loading takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest
import yaml

from oumi_core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
    json_schema,
)
from oumi_core.errors import ConfigError

DATA = sorted((Path(__file__).parent / "data").glob("*.yaml"))
OUMIS = Path(__file__).parents[3] / "shared" / "oumi-configs"


def accepts(data: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(json_schema()).is_valid(data))


def test_it_is_a_valid_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_it_accepts_our_configs_as_read_and_as_written() -> None:
    for path in DATA:
        data = yaml.safe_load(path.read_text(encoding="utf-8").replace("1e-2", "1.0e-2"))
        assert accepts(data), path
        assert accepts(InferenceConfig.from_yaml(path).to_dict()), path


@pytest.mark.skipif(not OUMIS.is_dir(), reason="Oumi's own configs do not lie beside the checkout")
def test_it_accepts_oumis_own_configs() -> None:
    for path in sorted(OUMIS.glob("*.yaml")):
        assert accepts(yaml.safe_load(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize(
    "data",
    [
        {"xyzzy": 1},
        {"model": {}},
        {"model": {"model_name": ""}},
        {"model": {"model_name": "m", "torch_dtype": "float8"}},
        {"generation": {"temperature": -1}},
        {"generation": {"top_p": "0.5"}},
        {"generation": {"logit_bias": {"a": 101}}},
        {"generation": {"tool_choice": "auot"}},
        {"generation": {"repetition_penalty": 0}},
        {"generation": {"guided_decoding": {"choice": []}}},
        {"generation": {"guided_decoding": {"json": True}}},
        {"remote_params": {"num_workers": 0}},
        {"on_unsupported": "ignore"},
        {"engine": None, "num_workers": 1.5},
    ],
)
def test_what_it_refuses_loading_refuses_too(data: dict[str, Any]) -> None:
    assert not accepts(data)
    with pytest.raises(ConfigError):
        InferenceConfig.from_dict(data)


def test_every_field_is_described_and_has_its_default() -> None:
    schema = json_schema()
    for params in (GenerationParams, GuidedDecodingParams, ModelParams, RemoteParams):
        properties = schema["$defs"][params.__name__]["properties"]
        assert set(properties) == {field.alias for field in attrs.fields(params)}
        assert [name for name, entry in properties.items() if not entry["description"]] == []
    assert all(entry["description"] for entry in schema["properties"].values())
    generation = schema["$defs"]["GenerationParams"]["properties"]
    assert generation["max_new_tokens"] == {
        "description": "the most tokens of an answer, at least 1; default 1024.",
        "type": "integer",
        "minimum": 1,
        "default": 1024,
    }


def test_changing_a_schema_changes_no_other() -> None:
    json_schema()["properties"]["engine_args"]["default"]["a"] = 1
    assert json_schema()["properties"]["engine_args"]["default"] == {}

"""Adapters are found, and those that do not fit are refused with their reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asking import ADAPTERS
from oumi_core.errors import ConfigError

from oumi_vllm.adapters import check_fits, find_adapter

TINY = SimpleNamespace(hidden_size=128, num_hidden_layers=4)


@pytest.fixture
def peft(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ADAPTERS["pirate"], tmp_path / "peft"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(name: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        find_adapter(str(name))
    return str(caught.value)


def test_the_rank_and_the_base_come_from_the_adapter() -> None:
    adapter = find_adapter(ADAPTERS["pirate"])

    assert (adapter.rank, adapter.base) == (8, "tiny")
    assert adapter.name == ADAPTERS["pirate"]


def test_the_highest_rank_of_a_pattern_counts(peft: Path) -> None:
    edit_config(peft, rank_pattern={"q_proj": 64})

    assert find_adapter(str(peft)).rank == 64


def test_an_adapter_of_the_models_size_fits() -> None:
    check_fits(find_adapter(ADAPTERS["shout"]), "tiny", TINY)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"hidden_size": 4096, "num_hidden_layers": 32}, "takes 128 values, the model's 4096"),
        ({"hidden_size": 128, "num_hidden_layers": 2}, "the model has 2 layers"),
    ],
)
def test_an_adapter_of_another_size_is_refused(sizes: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_fits(find_adapter(ADAPTERS["pirate"]), "owner/big", SimpleNamespace(**sizes))

    message = str(caught.value)
    assert said in message
    assert "does not fit the model owner/big" in message
    assert "made for tiny" in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peft_type": "IA3"}, "peft_type is IA3"),
        ({"r": None}, "is not the configuration of an adapter"),
        ({"rank_pattern": 7}, "is not the configuration of an adapter"),
    ],
)
def test_another_kind_of_adapter_is_refused(peft: Path, change: dict[str, Any], said: str) -> None:
    edit_config(peft, **change)

    assert said in refusal(peft)


def test_what_is_no_adapter_is_refused(peft: Path, tmp_path: Path) -> None:
    assert "is no LoRA adapter: there is no" in refusal(tmp_path)
    assert "is no LoRA adapter: there is no" in refusal("missing")
    (peft / "adapter_config.json").write_text("{")
    assert "cannot be read" in refusal(peft)


def test_broken_weights_are_refused(peft: Path) -> None:
    (peft / "adapter_model.safetensors").write_bytes(b"garbage!" * 4)

    with pytest.raises(ConfigError, match="is no file of safetensors"):
        check_fits(find_adapter(str(peft)), "tiny", TINY)

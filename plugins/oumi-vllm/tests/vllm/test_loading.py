"""What vLLM says about arguments comes as an error that names their place; no model is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from asking import ADAPTERS, TINY, config
from oumi_core.configs import ModelParams
from oumi_core.errors import ConfigError

from oumi_vllm import library
from oumi_vllm.adapters import find_adapter
from oumi_vllm.arguments import read_arguments
from oumi_vllm.loading import load

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,  # importing vLLM takes ten seconds
    pytest.mark.filterwarnings("default"),  # torch and its kin warn of themselves
]


def refusal(model: ModelParams | None = None, /, **engine_args: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(read_arguments(config(model or ModelParams(TINY), **engine_args)), [])
    return str(caught.value)


def test_each_name_is_checked_against_the_vllm_that_is_there() -> None:
    said = refusal(max_num_seq=3, tensor_parallel=2)

    assert "engine_args.max_num_seq: vLLM has no such argument; did you mean max_num_seqs?" in said
    assert "engine_args.tensor_parallel: vLLM has no such argument; did you mean" in said


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("structured_outputs_config", "disable_any_whitespaces"),
        ("compilation_config.pass_config", "fuse_norm_qunt"),
    ],
)
def test_a_nested_name_is_checked_too(path: str, name: str) -> None:
    first, *others = path.split(".")
    value: dict[str, Any] = {name: True}
    for other in others:
        value = {other: value}

    said = refusal(**{first: value})

    assert f"engine_args.{first}" in said
    assert name in said


def test_a_value_that_vllm_refuses_comes_with_its_reason() -> None:
    assert "gpu_memory_utilization" in refusal(gpu_memory_utilization=7.0)


def test_a_model_that_there_is_not_is_a_fault_of_the_config() -> None:
    assert "vLLM refuses this config" in refusal(ModelParams("/no/such/folder"))


def test_a_vllm_that_finds_no_device_is_no_vllm_that_works(tmp_path: Path) -> None:
    # A build that is not called one for the CPU, on a machine without a GPU.
    if not library.is_cpu():
        pytest.skip("this vLLM has a GPU")
    (tmp_path / "vllm-1.0.dist-info").mkdir()
    (tmp_path / "vllm-1.0.dist-info" / "METADATA").write_text("Name: vllm\nVersion: 1.0\n")
    program = "from oumi_vllm import library; library.import_vllm()"

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "PluginError: vLLM finds no device to run on: " in done.stderr


def test_a_version_that_reads_no_gguf_says_so() -> None:
    if library.reads_gguf():
        pytest.skip("this vLLM reads GGUF")
    model = ModelParams(TINY, tokenizer_name=TINY, model_kwargs={"filename": "tiny.gguf"})

    assert "reads no GGUF any more; take the engine llamacpp" in refusal(model)


def test_the_rank_is_the_smallest_that_vllm_has_for_the_adapters() -> None:
    ranks = library.lora_ranks()

    assert find_adapter(ADAPTERS["pirate"]).rank in ranks
    assert list(ranks) == sorted(ranks)

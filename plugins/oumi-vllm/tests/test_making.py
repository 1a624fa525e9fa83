"""Making an engine loads nothing; what is missing is said when it starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from asking import config
from oumi_core.configs import InferenceConfig, ModelParams
from oumi_core.errors import ConfigError

from oumi_vllm.engine import VLLMEngine

# Oumi's own configs, where they lie beside the checkout.
OUMIS = sorted((Path(__file__).parents[4] / "shared" / "oumi-configs").glob("*.yaml"))

CONFIGS = (
    "model: {model_name: owner/m}",
    "model: {model_name: owner/m, torch_dtype_str: bfloat16, trust_remote_code: true}",
    "model: {model_name: owner/m, adapter_model: owner/lora, model_max_length: 8192}",
    "model: {model_name: owner/m, model_kwargs: {max_num_seqs: 2}, attn_implementation: sdpa}",
    "model: {model_name: owner/m, model_kwargs: {quantization_config: {quant_method: mxfp4}}}",
    "model: {model_name: owner/m, chat_template: phi3-instruct, tool_call_parser: hermes}",
    "model: {model_name: /no/such/folder}\nengine_args: {tensor_parallel_size: -1}",
)

MAKE = """
import sys, time
from oumi_core.configs import InferenceConfig
from oumi_core.engine import EngineConfig
from oumi_vllm.engine import VLLMEngine

begun = time.perf_counter()
for text in {configs!r}:
    config = InferenceConfig.from_str("engine: VLLM\\n" + text)
    VLLMEngine(EngineConfig(config.model, config.remote_params, config.engine_args))
taken = time.perf_counter() - begun
print(sorted({{"vllm", "torch", "transformers", "huggingface_hub"}} & sys.modules.keys()))
print(f"{{1000 * taken / {count}:.1f}} ms each")
"""

START = """
import asyncio, sys
{before}
from oumi_core.configs import ModelParams
from oumi_core.engine import EngineConfig
from oumi_vllm.engine import VLLMEngine

async def main():
    engine = VLLMEngine(EngineConfig(ModelParams("owner/m")))
    try:
        await engine.start()
    except Exception as error:
        print(type(error).__name__, error)
    await engine.stop()

asyncio.run(main())
"""


def run(script: str) -> str:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_making_engines_imports_and_loads_nothing() -> None:
    printed = run(MAKE.format(configs=CONFIGS, count=len(CONFIGS)))

    assert printed.startswith("[]\n"), printed


def test_the_plugin_imports_nothing_heavy() -> None:
    script = (
        "import sys, oumi_vllm.hooks as hooks, oumi_vllm.orphans\n"
        "assert hooks.oumi_engines()['vllm']\n"
        "print(sorted({'vllm', 'torch', 'asyncio', 'oumi_core.engine'} & sys.modules.keys()))"
    )

    assert run(script) == "[]\n"


def test_without_a_build_of_vllm_the_error_names_both() -> None:
    printed = run(START.format(before="sys.modules['vllm'] = None  # as if it were not there"))

    assert printed.startswith("PluginError engine 'vllm' needs: pip install oumi-vllm[cuda]")
    assert "oumi-vllm[cpu]" in printed


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (
            "RuntimeError('operator torchvision::nms does not exist')",
            "torchvision does not match torch",
        ),
        ("ImportError('libcudart.so.12: cannot open')", "ImportError: libcudart.so.12"),
    ],
)
def test_a_build_that_cannot_be_imported_is_explained(
    tmp_path: Path, raised: str, said: str
) -> None:
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").write_text(f"raise {raised}\n")

    printed = run(START.format(before=f"sys.path.insert(0, {str(tmp_path)!r})"))

    assert printed.startswith("PluginError vLLM cannot be imported: ")
    assert said in printed


def test_a_version_before_the_first_that_is_served_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "vllm"
    (package / "entrypoints").mkdir(parents=True)
    (package / "__init__.py").write_text("__version_tuple__ = (0, 11, 2)\n")
    (package / "entrypoints" / "llm.py").write_text("")

    printed = run(START.format(before=f"sys.path.insert(0, {str(tmp_path)!r})"))

    assert "needs vLLM 0.12 or later, found 0.11" in printed


def test_faults_that_need_no_vllm_are_found_at_once() -> None:
    with pytest.raises(ConfigError, match=r"is set by model\.model_name"):
        VLLMEngine(config(model="m"))


def test_256_rows_are_in_flight_or_as_many_as_a_batch_takes() -> None:
    assert VLLMEngine(config()).num_workers == 256
    assert VLLMEngine(config(max_num_seqs=16)).num_workers == 256
    assert VLLMEngine(config(max_num_seqs=1024)).num_workers == 1024


def test_an_instance_serves_what_needs_no_other_weights() -> None:
    base = ModelParams("owner/m")
    plain, with_lora = VLLMEngine(config(base)), VLLMEngine(config(base, enable_lora=True))
    adapted = ModelParams("owner/m", adapter_model="a")

    assert plain.serves(ModelParams("owner/m", chat_template_kwargs={"a": 1}))
    assert plain.serves(ModelParams("owner/m", tool_call_parser="hermes"))
    assert not plain.serves(ModelParams("owner/m", model_max_length=512))
    assert not plain.serves(ModelParams("other/m"))
    assert not plain.serves(adapted)
    assert with_lora.serves(adapted)
    assert VLLMEngine(config(adapted)).serves(base)


@pytest.mark.skipif(not OUMIS, reason="needs Oumi's configs, which are not in the repository")
def test_each_config_of_oumis_for_vllm_makes_an_engine() -> None:
    configs = map(InferenceConfig.from_yaml, OUMIS)
    served = [read for read in configs if read.engine == "VLLM"]

    engines = [VLLMEngine(config(read.model, **read.engine_args)) for read in served]

    assert len(engines) > 10


@pytest.mark.parametrize("text", CONFIGS)
def test_each_config_reads(text: str) -> None:
    read = InferenceConfig.from_str(f"engine: VLLM\n{text}")

    assert read.model is not None
    assert VLLMEngine(config(read.model, **read.engine_args)).config.model == read.model

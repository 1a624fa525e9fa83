"""The remote workflows of Oumi's guide, in its own words: only the address is another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic
from oumi_core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)
from oumi_core.inference import RemoteVLLMInferenceEngine
from oumi_core.types.conversation import Conversation, Message, Role

if TYPE_CHECKING:
    from tests.vllm.conftest import Server

BASE = "meta-llama/Llama-3.1-8B-Instruct"


class ProductInfo(pydantic.BaseModel):
    name: str
    price: float
    features: list[str]
    color: str


def question(text: str) -> Conversation:
    return Conversation(messages=[Message(role=Role.USER, content=text)])


def test_a_chat_completion(server: Server) -> None:
    engine = RemoteVLLMInferenceEngine(
        model_params=ModelParams(model_name=BASE, torch_dtype="bfloat16"),
        remote_params=RemoteParams(api_url=server.url),
    )
    conversation = Conversation(
        messages=[
            Message(role=Role.SYSTEM, content="You are a helpful coding assistant."),
            Message(role=Role.USER, content="How do I read a file in Python?"),
        ]
    )
    config = InferenceConfig(
        generation=GenerationParams(max_new_tokens=512, temperature=0.7, top_p=0.9)
    )
    with engine:
        result = engine.infer([conversation], config)
    assert "open(" in str(result[0].messages[-1].content)


def test_structured_outputs(server: Server) -> None:
    config = InferenceConfig(
        model=ModelParams(model_name=BASE),
        remote_params=RemoteParams(api_url=server.url),
        generation=GenerationParams(
            max_new_tokens=512,
            temperature=0,
            guided_decoding=GuidedDecodingParams(json=ProductInfo.model_json_schema()),
        ),
    )
    assert config.model is not None
    text = (
        "I'd like to tell you about the new iPhone 15. It's priced at $999 and comes with "
        "some amazing features including the A17 Pro chip, USB-C connectivity, and a premium "
        "Titanium design."
    )
    with RemoteVLLMInferenceEngine(
        model_params=config.model, remote_params=config.remote_params
    ) as engine:
        result = engine.infer(
            [question(f"Extract product information as JSON from: {text}")],
            inference_config=config,
        )
    product = ProductInfo.model_validate_json(str(result[0].messages[-1].content))
    assert product.name == "iPhone 15"
    assert product.price == 999


def test_parallel_processing_with_multiple_workers(server: Server) -> None:
    config = InferenceConfig(
        model=ModelParams(model_name=BASE),
        remote_params=RemoteParams(
            api_url=server.url, max_retries=3, num_workers=4, politeness_policy=1.0
        ),
    )
    assert config.model is not None
    with RemoteVLLMInferenceEngine(
        model_params=config.model, remote_params=config.remote_params
    ) as engine:
        (result,) = engine.infer([question("What is 2+2?")])
    assert result.messages[-1].content == "The sum of 2 and 2 is 4."


def test_remote_lora_serving(server: Server) -> None:
    engine = RemoteVLLMInferenceEngine(
        model_params=ModelParams(model_name="my-adapter"),
        remote_params=RemoteParams(api_url=server.url),
    )
    with engine:
        (result,) = engine.infer([question("What is machine learning?")])
    assert str(result.messages[-1].content).startswith("Arr!")


def test_serving_multiple_lora_adapters(server: Server) -> None:
    answers = []
    for name in ("adapter-v1", "adapter-v2"):
        engine = RemoteVLLMInferenceEngine(
            model_params=ModelParams(model_name=name),
            remote_params=RemoteParams(api_url=server.url),
        )
        with engine:
            (result,) = engine.infer([question("What is the capital of France?")])
        answers.append(result.messages[-1].content)
    assert answers == [
        "Arr! The capital of France be Paris, matey!",
        "THE CAPITAL OF FRANCE IS PARIS!!!",
    ]


def test_lora_with_a_configuration_file(server: Server, tmp_path: Path) -> None:
    config, output = tmp_path / "config.yaml", tmp_path / "out.jsonl"
    config.write_text(
        f"""
model:
  model_name: "{BASE}"
  adapter_model: "adapter-v1"
  torch_dtype_str: "bfloat16"

generation:
  max_new_tokens: 256
  temperature: 0.7
  seed: 1

remote_params:
  api_url: "{server.url}"

engine: REMOTE_VLLM
"""
    )
    rows = tmp_path / "in.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "What is 2+2?"}]}\n' * 3)
    program = Path(sys.executable).with_name("oumi")
    subprocess.run(
        [program, "infer", "-c", config, "--input_path", rows, "--output_path", output],
        check=True,
        capture_output=True,
    )
    answers = [
        json.loads(line)["messages"][-1]["content"] for line in output.read_text().splitlines()
    ]
    assert len(answers) == 3
    assert all(answer.startswith("Arr!") for answer in answers)

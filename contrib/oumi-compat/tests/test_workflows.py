"""The code that people have written for Oumi keeps its shape: only the engine's class changes.

Each workflow is run twice: with the class that its author chose, whose plugin may not be installed,
and with the embedded engine, which answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from oumi_core import PluginError, list_engines
from pydantic import BaseModel

from oumi.core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)
from oumi.core.types.conversation import Conversation, Message, Role
from oumi.inference import (
    LlamaCppInferenceEngine,
    OpenAIInferenceEngine,
    RemoteInferenceEngine,
    RemoteVLLMInferenceEngine,
    VLLMInferenceEngine,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi.inference import InferenceEngine

INSTALLED = {engine.name for engine in list_engines()}
embedded = pytest.mark.skipif("llamacpp" not in INSTALLED, reason="oumi-llamacpp is not installed")


class ProductInfo(BaseModel):
    name: str
    price: float
    features: list[str]
    color: str


def ask(*texts: str, system: str | None = None) -> list[Conversation]:
    before = [Message(role=Role.SYSTEM, content=system)] if system else []
    return [
        Conversation(messages=[*before, Message(role=Role.USER, content=text)]) for text in texts
    ]


def last_text(conversation: Conversation) -> str:
    content = conversation.messages[-1].content
    assert isinstance(content, str)
    return content


@pytest.mark.parametrize(
    ("name", "make", "command"),
    [
        (
            "vllm",
            lambda: VLLMInferenceEngine(
                model_params=ModelParams(
                    model_name="meta-llama/Llama-3.1-8B-Instruct", torch_dtype="bfloat16"
                )
            ),
            r"pip install oumi-vllm\[cuda\]",
        ),
        (
            "vllm",
            lambda: VLLMInferenceEngine(
                ModelParams(
                    model_name="meta-llama/Llama-3.1-8B-Instruct",
                    adapter_model="path/to/lora/adapter",
                    torch_dtype_str="bfloat16",
                )
            ),
            r"pip install oumi-vllm\[cuda\]",
        ),
        (
            "openai",
            lambda: OpenAIInferenceEngine(
                model_params=ModelParams(model_name="gpt-4"),
                remote_params=RemoteParams(max_retries=3, num_workers=4, politeness_policy=1.0),
            ),
            "pip install oumi-openai",
        ),
        (
            "remote-vllm",
            lambda: RemoteVLLMInferenceEngine(
                model_params=ModelParams(model_name="my-adapter"),
                remote_params=RemoteParams(api_url="http://localhost:6864"),
            ),
            "pip install oumi-remote-vllm",
        ),
        (
            "remote",
            lambda: RemoteInferenceEngine(
                model_params=ModelParams(model_name="some-model"),
                remote_params=RemoteParams(api_url="http://localhost:8000/v1"),
            ),
            "pip install oumi-http",
        ),
    ],
)
def test_an_engine_that_is_not_installed_says_what_to_install(
    name: str, make: Callable[[], InferenceEngine], command: str
) -> None:
    if name in INSTALLED:
        pytest.skip(f"engine {name!r} is installed: its own tests make it")
    with pytest.raises(PluginError, match=command):
        make()


@embedded
def test_a_chat_completion_reads_a_file() -> None:
    engine = LlamaCppInferenceEngine(model_params=ModelParams(model_name="demo"))
    config = InferenceConfig(
        generation=GenerationParams(max_new_tokens=512, temperature=0.0, top_p=0.9)
    )
    with engine:
        result = engine.infer(
            ask("How do I read a file in Python?", system="You are a helpful coding assistant."),
            config,
        )
    assert "open(" in last_text(result[0])


@embedded
def test_structured_output_makes_the_product_that_the_text_describes() -> None:
    config = InferenceConfig(
        model=ModelParams(model_name="demo"),
        generation=GenerationParams(
            max_new_tokens=512,
            temperature=0,
            guided_decoding=GuidedDecodingParams(json=ProductInfo.model_json_schema()),
        ),
    )
    assert config.model is not None
    text = (
        "I'd like to tell you about the new iPhone 15. It's priced at $999 and comes with some "
        "amazing features including the A17 Pro chip, USB-C connectivity, and a premium Titanium "
        "design."
    )
    with LlamaCppInferenceEngine(
        model_params=config.model, remote_params=config.remote_params
    ) as engine:
        result = engine.infer(
            ask(f"Extract product information as JSON from: {text}"), inference_config=config
        )
    product = ProductInfo.model_validate_json(last_text(result[0]))
    assert product.name == "iPhone 15"
    assert product.price == 999
    assert product.color == "Titanium"


@embedded
def test_many_workers_answer_in_the_order_of_the_questions() -> None:
    remote_params = RemoteParams(max_retries=3, num_workers=4, politeness_policy=1.0)
    questions = [f"What is {a}+{b}?" for a in range(3) for b in range(3)]
    with LlamaCppInferenceEngine(
        model_params=ModelParams(model_name="demo"), remote_params=remote_params
    ) as engine:
        results = engine.infer(ask(*questions))
    assert [last_text(result) for result in results] == [
        f"The sum of {a} and {b} is {a + b}." for a in range(3) for b in range(3)
    ]
    assert [result.messages[-2].content for result in results] == questions

"""The batches that people have written for Oumi: at OpenAI's API, and in the local queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from oumi_core import BatchUnfinished, list_engines

from oumi.core.configs import GenerationParams, InferenceConfig, ModelParams, RemoteParams
from oumi.core.types.conversation import Conversation, Message, Role
from oumi.inference import LlamaCppInferenceEngine, OpenAIInferenceEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oumi.inference import InferenceEngine

pytestmark = pytest.mark.slow

INSTALLED = {engine.name for engine in list_engines()}
openai = pytest.mark.skipif("openai" not in INSTALLED, reason="oumi-openai is not installed")
embedded = pytest.mark.skipif("llamacpp" not in INSTALLED, reason="oumi-llamacpp is not installed")
# llmock does not close the files that it is sent.
leaky = pytest.mark.filterwarnings(
    "ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUMI_STATE_DIR", str(tmp_path))


def run_batch(engine_class: Callable[..., InferenceEngine], config: InferenceConfig) -> list[str]:
    """Send a batch, look at it, and print its results; what is printed, a line each."""
    printed = []
    engine = engine_class(model_params=config.model, remote_params=config.remote_params)
    conversations = [
        Conversation(messages=[Message(content="What is 2+2?", role=Role.USER)]),
        Conversation(messages=[Message(content="What is the capital of France?", role=Role.USER)]),
    ]
    batch_id = engine.infer_batch(conversations, config)
    engine.wait_batch(batch_id, config)
    status = engine.get_batch_status(batch_id, config)
    printed.append(f"Progress: {status.completed_requests}/{status.total_requests}")
    printed.append(f"Status: {status.status}")
    results = engine.get_batch_results(batch_id, conversations, config)
    for conversation in results:
        printed.append(f"Question: {conversation.messages[-2].content}")
        printed.append(f"Answer: {conversation.messages[-1].content}")
    engine.close()
    return printed


ECHOED = [
    "Progress: 2/2",
    "Status: completed",
    "Question: What is 2+2?",
    "Answer: Hello! You said: What is 2+2?",
    "Question: What is the capital of France?",
    "Answer: Hello! You said: What is the capital of France?",
]


@openai
@leaky
def test_at_openai(llmock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The address and the key are in the variables of the official SDK.
    monkeypatch.setenv("LLMOCK_RESPONSE_STYLE", "echo")
    config = InferenceConfig(
        model=ModelParams(model_name="gpt-4"),
        remote_params=RemoteParams(batch_completion_window="24h"),
    )
    assert run_batch(OpenAIInferenceEngine, config) == ECHOED
    assert [one.path for one in llmock.requests].count("/v1/batches") == 1


@openai
@leaky
def test_results_that_are_asked_for_too_early(llmock: Any) -> None:
    engine = OpenAIInferenceEngine(ModelParams(model_name="gpt-4"))
    conversations = [Conversation(messages=[Message(content="hello", role=Role.USER)])]
    batch_id = engine.infer_batch(conversations)
    with pytest.raises(BatchUnfinished, match="validating"):
        engine.get_batch_results(batch_id, conversations)
    assert engine.get_batch_results(batch_id, conversations, partial=True) == []
    engine.close()


@openai
def test_openai_in_the_local_queue(llmock: Any) -> None:
    llmock.reply("Well.", times=None)
    config = InferenceConfig(model=ModelParams(model_name="gpt-4"), batching="local")
    printed = run_batch(OpenAIInferenceEngine, config)
    assert printed[:2] == ["Progress: 2/2", "Status: completed"]
    assert [line for line in printed if line.startswith("Answer")] == ["Answer: Well."] * 2
    assert {one.path for one in llmock.requests} == {"/v1/chat/completions"}


@embedded
def test_the_embedded_engine_in_the_local_queue() -> None:
    config = InferenceConfig(
        model=ModelParams(model_name="demo"),
        generation=GenerationParams(max_new_tokens=64),
        batching="local",
    )
    printed = run_batch(LlamaCppInferenceEngine, config)
    assert printed[:2] == ["Progress: 2/2", "Status: completed"]
    assert "Paris" in printed[-1]

"""The engine `openai` against a server that others wrote, asked as users ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import oumi_core as oumi
import pydantic
import pytest
from oumi_core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)
from oumi_core.errors import ConfigError, RunStopped
from oumi_core.testing import FaultServer, completion
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmock.pytest_plugin import LLMock
    from oumi_core.inference import InferenceEngine


class Book(pydantic.BaseModel):
    title: str
    kind: Literal["novel", "poem"]
    year: int | None = None
    pages: int = 100
    marks: dict[str, int] = {}


def made(url: str, **remote: Any) -> InferenceEngine:
    params = {"api_url": url, "api_key": "sk-test", "retry_policy": "none", **remote}
    config = InferenceConfig(
        model=ModelParams(model_name="gpt-4o-mini"), remote_params=RemoteParams(**params)
    )
    return oumi.get_engine("openai", config)


@pytest.fixture
def engine(llmock: LLMock) -> Iterator[InferenceEngine]:
    with made(llmock.base_url("openai")) as engine:
        yield engine


def asking(text: str) -> Conversation:
    return Conversation([Message(Role.USER, text)])


def guided(**constraint: Any) -> InferenceConfig:
    params = GuidedDecodingParams(**constraint)
    return InferenceConfig(generation=GenerationParams(guided_decoding=params))


def test_a_server_that_holds_the_schema_gives_objects(engine: InferenceEngine) -> None:
    # llmock makes an example of the schema that it was sent: so this is the whole way there and
    # back.
    (result,) = engine.run([asking("a book")], inference_config=guided(json=Book))
    assert result.ok, result.error
    assert isinstance(result.parsed, Book)
    (result,) = engine.run([asking("yes or no")], inference_config=guided(choice=["yes", "no"]))
    assert result.parsed in ("yes", "no")


def test_the_answer_is_checked_against_the_original(
    llmock: LLMock, engine: InferenceEngine
) -> None:
    llmock.reply('{"title": "Emma", "kind": "novel", "year": null, "pages": null, "marks": null}')
    (result,) = engine.run([asking("a book")], inference_config=guided(json=Book))
    assert result.parsed == Book(title="Emma", kind="novel")
    assert result.checked is True
    llmock.reply('{"title": "Emma", "kind": "play", "year": null, "pages": null, "marks": null}')
    (result,) = engine.run([asking("a book")], inference_config=guided(json=Book))
    assert result.error is not None
    assert result.error.kind is FailureKind.INVALID_OUTPUT
    llmock.reply('{"value": "maybe"}')
    (result,) = engine.run([asking("?")], inference_config=guided(choice=["yes", "no"]))
    assert result.error is not None
    assert result.error.kind is FailureKind.INVALID_OUTPUT


def test_a_refusal_is_a_failure_of_its_own_kind() -> None:
    message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    with FaultServer([completion(message=message)]) as server, made(server.url) as engine:
        (result,) = engine.run([asking("a book")], inference_config=guided(json=Book))
    assert result.error is not None
    assert result.error.kind is FailureKind.REFUSAL


@pytest.mark.parametrize(
    ("constraint", "reason"),
    [
        ({"grammar": 'root ::= "a"'}, "does not enforce the constraint 'grammar'"),
        ({"regex": r"(?=a)a"}, "look-around"),
        ({"json": {"type": "object", "properties": {"a": {"not": {}}}}}, "'not' at /properties/a"),
    ],
)
def test_what_cannot_be_held_is_refused_before_anything_is_sent(
    llmock: LLMock, engine: InferenceEngine, constraint: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        list(engine.run([asking("a")], inference_config=guided(**constraint)))
    assert llmock.requests == []


def test_an_exhausted_account_stops_the_run_at_the_first_answer(llmock: LLMock) -> None:
    llmock.fail(401, times=None)
    with made(llmock.base_url("openai"), retry_policy="standard", num_workers=1) as engine:
        with pytest.raises(RunStopped) as caught:
            engine.infer([asking(f"row {number}") for number in range(20)])
    assert caught.value.failure is not None
    assert caught.value.failure.kind is FailureKind.AUTH
    assert len(llmock.requests) == 1


def test_the_model_list(engine: InferenceEngine) -> None:
    assert "gpt-4o-mini" in engine.list_models()

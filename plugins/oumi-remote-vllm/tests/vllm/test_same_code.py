"""The same code on servers of others and on vLLM: only the engine's name and URL change."""

from __future__ import annotations

import base64
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from oumi_core import get_engine
from oumi_core.types.conversation import ContentItem, ContentType, Conversation, Message, Role
from oumi_core.types.failure import FailureKind
from oumi_core.types.tool_call import ToolDefinition

if TYPE_CHECKING:
    from llmock.pytest_plugin import LLMock
    from oumi_core.inference import InferenceEngine

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."
ANSWER = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
WEATHER = ToolDefinition.from_dict(
    {
        "type": "function",
        "function": {
            "name": "weather",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
)
no_openai = pytest.mark.skipif(not find_spec("oumi_openai"), reason="oumi-openai is not installed")


@attrs.frozen
class Place:
    """A server to ask.

    Attributes:
        engine: the engine's name.
        url: the server's.
        mock: the server, where what it says must be scripted; None for vLLM.
    """

    engine: str
    url: str
    mock: LLMock | None = None

    def __call__(self, **fields: Any) -> InferenceEngine:
        return get_engine(self.engine, model="tiny", api_url=self.url, api_key="sk-test", **fields)


@pytest.fixture(params=["remote-vllm", "remote", pytest.param("openai", marks=no_openai)])
def place(request: pytest.FixtureRequest, llmock: LLMock) -> Place:
    if request.param == "remote-vllm":
        return Place("remote-vllm", request.getfixturevalue("server").url)
    return Place(request.param, llmock.base_url("openai"), llmock)


def asking(text: str, *images: ContentItem) -> Conversation:
    content = [*images, ContentItem(ContentType.TEXT, text)] if images else text
    return Conversation([Message(Role.USER, content)])


def test_chat(place: Place) -> None:
    if place.mock is not None:
        place.mock.reply(PARIS, times=None)
    with place(num_workers=4) as engine:
        rows = engine.infer([asking(FRANCE)] * 8)
    assert [row.messages[-1].content for row in rows] == [PARIS] * 8


def test_a_stream(place: Place) -> None:
    if place.mock is not None:
        place.mock.reply(PARIS)
    with place() as engine:
        pieces = list(engine.stream(asking(FRANCE)))
    assert "".join(pieces) == PARIS
    assert len(pieces) > 1


@pytest.mark.parametrize(
    "tool_choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=str
)
def test_a_tool_call(place: Place, tool_choice: Any) -> None:
    if place.mock is not None:
        place.mock.call_tool("weather", {"city": "Oslo"})
    row = Conversation([Message(Role.USER, "What is the weather in Oslo?")], tools=[WEATHER])
    with place(tool_choice=tool_choice, max_new_tokens=64) as engine:
        (answer,) = engine.infer([row])
    calls = answer.messages[-1].tool_calls
    assert calls
    assert calls[0].function.name == "weather"
    assert json.loads(calls[0].function.arguments)["city"] in ("Oslo", "Rome")


def test_structured_output(place: Place) -> None:
    with place(json=ANSWER, max_new_tokens=64) as engine:
        results = list(engine.run([asking(FRANCE), asking("Who wrote Hamlet?")]))
    assert all(result.ok and result.checked for result in results)
    assert all(isinstance(result.parsed["answer"], str) for result in results)


def test_an_image_is_seen_or_fails_its_row(place: Place) -> None:
    if place.mock is not None:
        place.mock.reply("a dot")
    image = ContentItem(ContentType.IMAGE_BINARY, binary=PNG)
    with place() as engine:
        (result,) = engine.run([asking("What is it?", image)])
    if place.mock is not None:
        assert result.conversation.messages[-1].content == "a dot"
    else:
        assert result.error is not None
        assert result.error.kind is FailureKind.BAD_REQUEST
        assert "not a multimodal model" in result.error.message

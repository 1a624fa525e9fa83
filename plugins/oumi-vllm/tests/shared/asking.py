"""Short ways to make an engine and to ask it; for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from oumi_core.configs import GenerationParams, ModelParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.types import Conversation, Message, ToolDefinition

if TYPE_CHECKING:
    from oumi_core.guided.constraint import Constraint

MODELS = Path(__file__).parents[4] / "tests" / "models"
TINY = str(MODELS / "tiny")
ADAPTERS = {style: str(MODELS / "tiny" / "adapters" / style) for style in ("pirate", "shout")}

FRANCE = "What is the capital of France?"
PARIS = "The capital of France is Paris."
STYLES = {
    "pirate": "Arr! The capital of France be Paris, matey!",
    "shout": "THE CAPITAL OF FRANCE IS PARIS!!!",
}

WEATHER = ToolDefinition.from_dict(
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 12}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
)


def conversation(question: str = FRANCE, **more: Any) -> Conversation:
    return Conversation([Message("user", question)], **more)


def config(model: ModelParams | None = None, /, **engine_args: Any) -> EngineConfig:
    return EngineConfig(model or ModelParams("m"), engine_args=engine_args)


def request(
    question: str = FRANCE,
    *,
    model: ModelParams | None = None,
    constraint: Constraint | None = None,
    tools: list[ToolDefinition] | None = None,
    **generation: Any,
) -> Request:
    params = GenerationParams(**{"max_new_tokens": 60, **generation})
    asked = conversation(question, tools=tools)
    return Request(asked, model or ModelParams("m"), params, constraint)

"""A server that others wrote, which knows nothing of vLLM's fields and takes them all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from oumi_core import get_engine
from oumi_core.errors import ConfigError
from oumi_core.types.conversation import Conversation, Message, Role

if TYPE_CHECKING:
    from llmock.pytest_plugin import LLMock

ROWS = [Conversation([Message(Role.USER, f"row {number}")]) for number in range(3)]


@pytest.mark.parametrize(
    "constraint",
    [
        {"json": {"type": "object", "properties": {"a": {"type": "integer"}}}},
        {"regex": "[0-9]{3}"},
        {"choice": ["yes", "no"]},
        {"grammar": 'root ::= "yes" | "no"'},
    ],
    ids=lambda constraint: next(iter(constraint)),
)
def test_a_server_that_ignores_the_constraint_is_refused_before_row_one(
    llmock: LLMock, constraint: dict[str, Any]
) -> None:
    url = llmock.base_url("openai")
    with get_engine("remote-vllm", model="gpt-4o-mini", api_url=url, **constraint) as engine:
        with pytest.raises(ConfigError, match="does not hold a"):
            engine.infer(ROWS)
    asked = [str(request) for request in llmock.requests]
    assert not any("row " in text for text in asked)


def test_chat_needs_none_of_it(llmock: LLMock) -> None:
    llmock.reply("hi", times=None)
    url = llmock.base_url("openai")
    with get_engine("remote-vllm", model="gpt-4o-mini", api_url=url) as engine:
        assert [row.messages[-1].content for row in engine.infer(ROWS)] == ["hi"] * 3

"""The engine `openai` against core's tests of an engine, on a server that others wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest
from oumi_core.configs import ModelParams, RemoteParams
from oumi_core.engine import EngineConfig
from oumi_core.testing import EngineConformance

from oumi_openai.engine import OpenAIEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmock.pytest_plugin import LLMock

_FIXED = "llmock's answer is fixed, whatever is asked for"


class TestOpenAI(EngineConformance):
    engine_class = OpenAIEngine
    name: ClassVar[str | None] = "openai"
    not_tested: ClassVar[Mapping[str, str]] = {
        "test_max_new_tokens_cuts_the_answer": _FIXED,
        "test_a_stop_string_ends_the_answer": _FIXED,
        "test_log_probabilities_come_when_they_are_asked_for": _FIXED,
        "test_every_answer_fits_its_constraint": _FIXED,
    }

    @pytest.fixture(autouse=True)
    def _server(self, llmock: LLMock) -> None:
        llmock.reply("The capital of France is Paris.", times=None)
        url = llmock.base_url("openai")
        remote = RemoteParams(api_url=url, api_key="sk-of-the-user")
        type(self).config = EngineConfig(ModelParams(model_name="gpt-4o-mini"), remote)

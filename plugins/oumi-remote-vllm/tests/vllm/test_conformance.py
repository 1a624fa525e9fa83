"""The engine `remote-vllm` against core's tests of an engine, on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest
from oumi_core.configs import ModelParams, RemoteParams
from oumi_core.engine import EngineConfig
from oumi_core.testing import EngineConformance

from oumi_remote_vllm.engine import RemoteVLLMEngine

if TYPE_CHECKING:
    from tests.vllm.conftest import Server


class TestRemoteVLLM(EngineConformance):
    engine_class = RemoteVLLMEngine
    name: ClassVar[str | None] = "remote-vllm"
    constrained_answers = 50

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def of_the_server(cls, server: Server) -> None:
        """The config, which is known only when the server is up."""
        remote = RemoteParams(api_url=server.url, api_key="sk-test")
        cls.config = EngineConfig(ModelParams(model_name="tiny"), remote)

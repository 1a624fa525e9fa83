"""The engine `llamacpp` against core's tests of an engine, with the demo model."""

from __future__ import annotations

from typing import ClassVar

from oumi_core.configs import ModelParams
from oumi_core.engine import EngineConfig
from oumi_core.testing import EngineConformance

from oumi_llamacpp.engine import LlamaCppEngine


class TestLlamaCpp(EngineConformance):
    engine_class = LlamaCppEngine
    config = EngineConfig(ModelParams(model_name="demo"))
    name: ClassVar[str | None] = "llamacpp"

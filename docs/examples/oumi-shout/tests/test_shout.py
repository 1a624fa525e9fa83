"""The engine `shout` against what core asks of every engine."""

from oumi_shout.engine import ShoutEngine

from oumi_core.configs import ModelParams
from oumi_core.engine import EngineConfig
from oumi_core.testing import EngineConformance


class TestShout(EngineConformance):
    engine_class = ShoutEngine
    config = EngineConfig(ModelParams(model_name="any"))
    name = "shout"

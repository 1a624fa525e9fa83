"""The tests that an engine has to pass to be one; see `EngineConformance`."""

from oumi_core.testing.conformance.answers import AnswerTests
from oumi_core.testing.conformance.constraints import ConstraintTests
from oumi_core.testing.conformance.declaration import DeclarationTests
from oumi_core.testing.conformance.failures import FailureTests
from oumi_core.testing.conformance.lifetime import LifetimeTests
from oumi_core.testing.conformance.params import ParamTests
from oumi_core.testing.conformance.streams import StreamTests

__all__ = ["EngineConformance"]


class EngineConformance(
    DeclarationTests,
    AnswerTests,
    ParamTests,
    StreamTests,
    ConstraintTests,
    FailureTests,
    LifetimeTests,
):
    """What core relies on, as tests that run against an engine.

        from oumi_core.configs import ModelParams
        from oumi_core.engine import EngineConfig
        from oumi_core.testing import EngineConformance

        class TestAcme(EngineConformance):
            engine_class = AcmeEngine
            config = EngineConfig(ModelParams(model_name="acme-1"))

    pytest collects the subclass, whose name has to begin with `Test`. What the engine does not
    declare in its `capabilities` is not tested. A test that cannot hold is left out by
    `not_tested`, with the reason. One engine answers all tests; those on starting and stopping
    make another one.
    """

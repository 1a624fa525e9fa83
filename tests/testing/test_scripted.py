from __future__ import annotations

import pytest

from oumi_core import ConfigError, InferenceFailed, get_engine
from oumi_core.configs import GenerationParams, GuidedDecodingParams, InferenceConfig
from oumi_core.testing import Script, ScriptedEngine
from oumi_core.types import (
    Completion,
    Conversation,
    Failure,
    FailureKind,
    FinishReason,
    Message,
    Role,
)


def ask(text: str) -> Conversation:
    return Conversation([Message(Role.USER, text)])


def test_the_lines_are_said_in_order_and_the_last_one_stays() -> None:
    script = Script("one", Completion(Message(Role.ASSISTANT, "two"), FinishReason.STOP), "three")
    with get_engine(
        ScriptedEngine, model="m", num_workers=1, engine_args={"script": script}
    ) as engine:
        answers = engine.infer([ask(word) for word in "abcd"])
    assert [answer[-1].text for answer in answers] == ["one", "two", "three", "three"]
    assert [request.conversation[0].text for request in script.requests] == list("abcd")


def test_failures_and_exceptions_are_raised_and_functions_asked() -> None:
    down = Failure(FailureKind.BAD_REQUEST, "not that", 400)
    script = Script(down, RuntimeError("hm"), lambda request: request.conversation[0].text * 2)
    with get_engine(
        ScriptedEngine, model="m", num_workers=1, engine_args={"script": script}
    ) as engine:
        with pytest.raises(InferenceFailed) as caught:
            engine.infer([ask(word) for word in "abc"])
    first, second, third = caught.value.results
    assert first.error == down
    assert second.error is not None
    assert second.error.kind is FailureKind.INTERNAL
    assert third.text == "cc"


def test_what_is_said_is_checked_against_the_constraint() -> None:
    guided = GuidedDecodingParams(choice=["yes", "no"])
    config = InferenceConfig(generation=GenerationParams(guided_decoding=guided))
    script = Script("perhaps", "no")
    with get_engine(
        ScriptedEngine, model="m", num_workers=1, engine_args={"script": script}
    ) as engine:
        first, second = engine.run([ask("a"), ask("b")], inference_config=config)
    assert first.error is not None
    assert first.error.kind is FailureKind.INVALID_OUTPUT
    assert second.parsed == "no"


@pytest.mark.parametrize("engine_args", [{}, {"script": ["hi"]}, {"script": Script("a"), "b": 1}])
def test_an_engine_without_its_script_says_what_it_takes(engine_args: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="ScriptedEngine takes"):
        get_engine(ScriptedEngine, model="m", engine_args=engine_args).infer([ask("a")])


def test_a_script_needs_a_line() -> None:
    with pytest.raises(ConfigError, match="at least one line"):
        Script()

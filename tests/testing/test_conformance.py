from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, ClassVar

import pytest

from oumi_core.configs import ModelParams
from oumi_core.engine import EngineConfig
from oumi_core.engines.echo import EchoEngine
from oumi_core.testing import EngineConformance

if TYPE_CHECKING:
    from pathlib import Path


class TestEcho(EngineConformance):
    engine_class = EchoEngine
    config = EngineConfig(ModelParams(model_name="any"))
    name: ClassVar[str | None] = "echo"


HEAD = """
    import asyncio, subprocess, sys, threading, time
    import attrs
    from oumi_core.configs import ModelParams
    from oumi_core.engine import Capabilities, Engine, EngineConfig
    from oumi_core.engines.echo import EchoEngine
    from oumi_core.errors import EngineError
    from oumi_core.testing import EngineConformance
    from oumi_core.types import *

    WAIT = [sys.executable, "-c", "input()"]

"""

BROKEN = {
    "test_it_is_an_engine_of_a_contract_that_core_serves": """
        contract = 99
    """,
    "test_its_capabilities_name_only_what_there_is": """
        capabilities = Capabilities(generation={"warmth"})
    """,
    "test_its_summary_is_a_sentence": """
        __doc__ = None
    """,
    "test_it_answers_with_a_completion": """
        async def complete(self, request):
            answer = await super().complete(request)
            return attrs.evolve(answer, message=Message(Role.USER, answer.text))
    """,
    "test_asking_changes_nothing_of_the_request": """
        async def complete(self, request):
            answer = await super().complete(request)
            request.conversation.messages.append(answer.message)
            return answer
    """,
    "test_as_many_as_it_asks_for_are_in_flight_at_once": """
        last = None
        async def complete(self, request):
            answer = await super().complete(request)
            if self.last is None:
                self.last = answer.message
            return attrs.evolve(answer, message=self.last)
    """,
    "test_the_loop_goes_on_while_it_answers": """
        async def complete(self, request):
            time.sleep(0.4)
            return await super().complete(request)
    """,
    "test_a_cancelled_request_ends_and_leaves_no_task": """
        async def complete(self, request):
            asyncio.create_task(asyncio.sleep(60))
            await asyncio.sleep(0.05)
            return await super().complete(request)
    """,
    "test_tools_are_taken": """
        async def complete(self, request):
            answer = await super().complete(request)
            call = ToolCall("1", FunctionCall("launch", "{}"))
            message = attrs.evolve(answer.message, tool_calls=[call])
            return attrs.evolve(answer, message=message)
    """,
    "test_an_image_is_taken_or_fails_its_row": """
        async def complete(self, request):
            if request.conversation[0].contains_images():
                raise EngineError(Failure(FailureKind.TRANSIENT, "what is that?"))
            return await super().complete(request)
    """,
    "test_it_lists_models": """
        async def list_models(self):
            return ["b", "a"]
    """,
    "test_max_new_tokens_cuts_the_answer": """
        async def complete(self, request):
            generation = attrs.evolve(request.generation, max_new_tokens=64)
            return await super().complete(attrs.evolve(request, generation=generation))
    """,
    "test_a_stop_string_ends_the_answer": """
        async def complete(self, request):
            generation = attrs.evolve(request.generation, stop_strings=None)
            return await super().complete(attrs.evolve(request, generation=generation))
    """,
    "test_a_seed_repeats_the_answer": """
        count = 0
        async def complete(self, request):
            self.count += 1
            answer = await super().complete(request)
            return attrs.evolve(answer, message=Message(Role.ASSISTANT, f"{self.count} is it"))
    """,
    "test_log_probabilities_come_when_they_are_asked_for": """
        capabilities = attrs.evolve(EchoEngine.capabilities, logprobs=True)
    """,
    "test_a_stream_ends_with_its_completion": """
        async def stream(self, request):
            yield Chunk((await self.complete(request)).text)
    """,
    "test_the_pieces_are_the_text": """
        async def stream(self, request):
            async for piece in super().stream(request):
                yield Chunk(piece.text.strip()) if isinstance(piece, Chunk) else piece
    """,
    "test_pieces_come_as_they_are_made": """
        stream = Engine.stream
    """,
    "test_a_stream_that_is_left_frees_what_it_holds": """
        async def stream(self, request):
            asyncio.create_task(asyncio.sleep(60))
            async for piece in super().stream(request):
                yield piece
    """,
    "test_every_answer_fits_its_constraint[regex]": """
        capabilities = attrs.evolve(EchoEngine.capabilities, guided={"regex"})
    """,
    "test_an_odd_row_is_answered_or_fails_alone[a NUL]": """
        async def complete(self, request):
            if chr(0) in request.conversation[0].text:
                raise EngineError(Failure(FailureKind.INTERNAL, "NUL"))
            return await super().complete(request)
    """,
    "test_an_odd_row_is_answered_or_fails_alone[an empty question]": """
        async def complete(self, request):
            if not request.conversation[0].text:
                raise ValueError("no question")
            return await super().complete(request)
    """,
    "test_what_an_unknown_exception_says_is_not_repeated[RuntimeError]": """
        def classify(self, error):
            return Failure(FailureKind.TRANSIENT, str(error))
    """,
    "test_a_time_out_is_one": """
        def classify(self, error):
            return Failure(FailureKind.TRANSIENT, "hm")
    """,
    "test_its_own_failures_stay_as_they_are": """
        def classify(self, error):
            if isinstance(error, TimeoutError):
                return Failure(FailureKind.TIMEOUT, "late")
            return Failure(FailureKind.TRANSIENT, "hm")
    """,
    "test_making_one_holds_nothing": """
        def __init__(self, config):
            super().__init__(config)
            threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
    """,
    "test_stopping_frees_what_starting_took": """
        async def start(self):
            self.child = subprocess.Popen(WAIT, stdin=subprocess.PIPE)
        def __del__(self):
            self.child.kill()
            self.child.wait()
            self.child.stdin.close()
        kept = []
        async def stop(self):
            self.kept.append(self)
    """,
    "test_stopping_ends_what_is_in_flight": """
        asked = 0
        async def complete(self, request):
            self.asked += 1
            return await super().complete(request)
        async def stop(self):
            if self.asked == 4:
                raise RuntimeError("rows were in flight")
    """,
}

CANCELLED = "test_a_cancelled_request_ends_and_leaves_no_task"
BROKEN_ELSE = {
    "answers when cancelled": (
        CANCELLED,
        """
        async def complete(self, request):
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                pass
            return await super().complete(request)
        """,
    ),
    "fails when cancelled": (
        CANCELLED,
        """
        async def complete(self, request):
            try:
                await asyncio.sleep(0.05)
            except BaseException as error:
                raise EngineError(Failure(FailureKind.TRANSIENT, "broken off")) from error
            return await super().complete(request)
        """,
    ),
}
CASES = {**{test: (test, body) for test, body in BROKEN.items()}, **BROKEN_ELSE}


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The tests that fail when each is run against the engine that is broken for it."""
    classes = [made_class(number, body) for number, (_, body) in enumerate(CASES.values())]
    nodes = [
        f"test_kit.py::TestBroken{number}::{test}"
        for number, (test, _) in enumerate(CASES.values())
    ]
    folder = tmp_path_factory.mktemp("kit")
    lines = run_kit(folder, "".join(classes), *nodes)
    return {line.split(" - ")[0] for line in lines if line.startswith("FAILED")}


@pytest.mark.parametrize("case", CASES)
def test_an_engine_that_breaks_the_contract_fails(case: str, failed: set[str]) -> None:
    number, (test, _) = list(CASES).index(case), CASES[case]
    assert f"FAILED test_kit.py::TestBroken{number}::{test}" in failed


def test_an_engine_may_stream_by_an_iterator_that_is_no_generator(tmp_path: Path) -> None:
    made = made_class(
        0,
        """
        def stream(self, request):
            generator = super().stream(request)
            class Pieces:
                def __aiter__(self):
                    return self
                async def __anext__(self):
                    return await anext(generator)
            return Pieces()
        """,
    )
    printed = run_kit(tmp_path, made, "-k", "stream or pieces")
    assert not [line for line in printed if line.startswith("FAILED")]
    assert " passed" in printed[-1]


def test_an_engine_that_cannot_start_is_started_once(tmp_path: Path) -> None:
    made = made_class(
        0,
        """
        async def start(self):
            print("loading for minutes")
            raise RuntimeError("no weights")
        """,
    )
    printed = run_kit(tmp_path, made, "-k", "lists_models or takes_a_dialogue")
    assert printed.count("loading for minutes") == 1
    assert "the engine did not start: RuntimeError: no weights" in printed


def test_a_test_is_left_out_with_a_reason_only(tmp_path: Path) -> None:
    left_out = {
        '{"test_it_lists_models": "it has one model"}': "it has one model",
        '{"test_it_lists_models": " "}': "left out without a reason",
        '{"test_it_sings": "it cannot"}': "test_it_sings is no test of TestBroken2",
    }
    classes = [
        f"{made_class(number, 'pass')}    not_tested = {value}\n"
        for number, value in enumerate(left_out)
    ]
    printed = "\n".join(run_kit(tmp_path, "".join(classes), "-k", "test_it_lists_models"))
    for said in left_out.values():
        assert said in printed


def made_class(number: int, body: str) -> str:
    """A broken engine, and the tests of it."""
    broken = textwrap.indent(textwrap.dedent(body), "    ")
    return f"""
class Broken{number}(EchoEngine):
    "Is broken."
{broken}

class TestBroken{number}(EngineConformance):
    engine_class = Broken{number}
    config = EngineConfig(ModelParams(model_name="any"))
    patience = 20.0
"""


def run_kit(folder: Path, classes: str, *arguments: str) -> list[str]:
    """What pytest prints of them, in a process of its own."""
    (folder / "test_kit.py").write_text(textwrap.dedent(HEAD) + classes, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    return done.stdout.splitlines()

"""What `infer`, `run` and their awaitable twins promise, on engines that do as they are told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, ClassVar

import pytest

from oumi_core import InferenceFailed, RunStopped, get_engine
from oumi_core.configs import GenerationParams, InferenceConfig, ModelParams, RemoteParams
from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.errors import ConfigError, DataError, EngineError, PluginError
from oumi_core.inference import EchoInferenceEngine, VLLMInferenceEngine
from oumi_core.types import (
    Completion,
    ContentItem,
    ContentType,
    Conversation,
    Failure,
    FailureKind,
    FinishReason,
    Message,
    Role,
)


def ask(text: str) -> Conversation:
    return Conversation([Message(Role.USER, text)])


def reply(text: str, **fields: Any) -> Completion:
    return Completion(Message(Role.ASSISTANT, text), FinishReason.STOP, **fields)


class Obedient(Engine):
    """Does what the prompt says: `fail KIND`, `raise`, or answers with the prompt."""

    capabilities: ClassVar[Capabilities] = Capabilities()

    async def complete(self, request: Request) -> Completion:
        text = request.conversation.messages[-1].text
        if text.startswith("fail "):
            raise EngineError(Failure(FailureKind(text.removeprefix("fail ")), "as told"))
        if text == "raise":
            raise ValueError("sk-secret and the prompt")
        await asyncio.sleep(0)
        return reply(text)


def test_infer_answers_in_input_order_and_leaves_the_input_alone() -> None:
    conversations = [ask(f"row {n}") for n in range(50)]
    with get_engine(Obedient, model="m", num_workers=7) as engine:
        answers = engine.infer(conversations)
    assert [answer[-1].text for answer in answers] == [f"row {n}" for n in range(50)]
    assert all(answer[-1].role is Role.ASSISTANT for answer in answers)
    assert all(len(conversation.messages) == 1 for conversation in conversations)
    assert all(not conversation.metadata for conversation in conversations)


def test_an_answer_carries_usage_and_finish_reason_in_its_metadata() -> None:
    with get_engine("echo", model="m") as engine:
        (answer,) = engine.infer([Conversation([Message("user", "a b")], metadata={"mine": 1})])
    assert answer.metadata == {
        "mine": 1,
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
    }


def test_infer_tries_every_row_before_it_raises_with_all_results() -> None:
    rows = [ask("one"), ask("fail bad_request"), ask("three")]
    with get_engine(Obedient, model="m") as engine, pytest.raises(InferenceFailed) as caught:
        engine.infer(rows)
    results = caught.value.results
    assert [result.ok for result in results] == [True, False, True]
    assert results[1].error == Failure(FailureKind.BAD_REQUEST, "as told")
    assert results[1].conversation is rows[1]
    assert "1 of 3 rows failed; the first, at index 1: bad_request: as told" in str(caught.value)


def test_run_never_raises_for_a_row() -> None:
    rows = [ask("fail timeout"), ask("two")]
    with get_engine(Obedient, model="m") as engine:
        run = engine.run(rows)
        results = sorted(run, key=lambda result: result.index)
    assert [result.ok for result in results] == [False, True]
    summary = run.summary()
    assert (summary.rows, summary.succeeded, summary.exit_code) == (2, 1, 1)
    assert summary.failed == {FailureKind.TIMEOUT: 1}


@pytest.mark.parametrize("kind", ["auth", "quota", "engine_dead"])
def test_a_failure_that_every_row_would_meet_stops_the_run(kind: str) -> None:
    rows = (ask("one") if n < 3 else ask(f"fail {kind}") for n in range(10**9))
    with get_engine(Obedient, model="m", num_workers=4) as engine:
        run = engine.run(rows)
        results = list(run)
    assert len(results) <= 3 + 4 + 4
    summary = run.summary()
    assert summary.stopped_by is not None
    assert summary.stopped_by.kind == kind
    assert summary.exit_code == 3


def test_infer_of_a_stopped_run_raises_with_what_had_finished() -> None:
    with get_engine(Obedient, model="m", num_workers=1) as engine:
        with pytest.raises(RunStopped, match="after 2 rows: auth: as told") as caught:
            engine.infer([ask("one"), ask("fail auth"), ask("three")])
    assert [result.index for result in caught.value.results] == [0, 1]


def test_an_engines_own_exception_fails_the_row_and_keeps_its_text_out_of_the_message() -> None:
    with get_engine(Obedient, model="m") as engine:
        (result,) = engine.run([ask("raise")])
    assert result.error is not None
    assert result.error.kind is FailureKind.INTERNAL
    assert "ValueError at" in result.error.message
    assert "test_infer.py:" in result.error.message
    assert "secret" not in result.error.message
    assert "secret" not in repr(result)
    assert isinstance(result.exception, ValueError)


def test_an_engine_that_answers_with_no_completion_fails_the_row() -> None:
    class Odd(Engine):
        async def complete(self, request: Request) -> Completion:
            return "text"  # type: ignore[return-value]

    with get_engine(Odd, model="m") as engine:
        (result,) = engine.run([ask("x")])
    assert result.error is not None
    assert result.error.kind is FailureKind.INTERNAL


def test_an_engine_whose_classify_is_broken_fails_the_row_only() -> None:
    class Odd(Obedient):
        def classify(self, error: Exception) -> Failure:
            raise KeyError(error)

    with get_engine(Odd, model="m") as engine:
        results = list(engine.run([ask("raise"), ask("fine")]))
    assert sorted(result.ok for result in results) == [False, True]


def test_an_empty_conversation_is_refused_before_it_is_sent() -> None:
    with get_engine("echo", model="m") as engine:
        (result,) = engine.run([Conversation([])])
    assert result.error is not None
    assert "no messages" in result.error.message


def test_images_are_refused_by_an_engine_that_takes_none() -> None:
    image = Message("user", [ContentItem(ContentType.IMAGE_URL, "http://localhost/cat.png")])
    with get_engine(Obedient, model="m") as engine:
        (result,) = engine.run([Conversation([image])])
    assert result.error is not None
    assert result.error.message == "this engine takes no images"


def test_a_refusal_and_a_filtered_answer_are_failures_of_their_own() -> None:
    class Prim(Engine):
        async def complete(self, request: Request) -> Completion:
            if request.conversation[0].text == "refuse":
                return reply("", refusal="no")
            return Completion(Message("assistant", ""), FinishReason.CONTENT_FILTER)

    with get_engine(Prim, model="m", num_workers=1) as engine:
        results = list(engine.run([ask("refuse"), ask("filter")]))
    kinds = [result.error.kind for result in results if result.error]
    assert kinds == [FailureKind.REFUSAL, FailureKind.CONTENT_FILTER]
    assert all(result.completion is not None for result in results)


def test_never_more_rows_in_flight_than_workers() -> None:
    class Counting(Engine):
        in_flight = 0
        most = 0

        async def complete(self, request: Request) -> Completion:
            cls = type(self)
            cls.in_flight += 1
            cls.most = max(cls.most, cls.in_flight)
            await asyncio.sleep(0.001)
            cls.in_flight -= 1
            return reply("x")

    with get_engine(Counting, model="m", num_workers=5) as engine:
        engine.infer([ask("x")] * 60)
    assert Counting.most == 5


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 3),
        ({"remote_params": RemoteParams(num_workers=4)}, 4),
        ({"remote_params": RemoteParams(num_workers=4), "num_workers": 6}, 6),
    ],
)
def test_num_workers_of_the_config_wins_over_remote_params_and_the_engine(
    fields: dict[str, Any], expected: int
) -> None:
    class Three(Obedient):
        num_workers = 3

    with get_engine(Three, model="m", **fields) as engine:
        run = engine.run([ask("x")] * 9)
        list(run)
    assert run.num_workers == expected


def test_a_generator_is_read_no_further_than_the_results_that_are_taken() -> None:
    taken = 0

    def rows() -> Any:
        nonlocal taken
        for _ in range(10**6):
            taken += 1
            yield ask("x")

    with get_engine("echo", model="m") as engine, engine.run(rows()) as run:
        next(iter(run))
        assert taken < 5000


def test_leaving_a_run_early_cancels_what_is_in_flight() -> None:
    class Slow(Engine):
        canceled = 0

        async def complete(self, request: Request) -> Completion:
            if request.conversation[0].text == "fast":
                return reply("x")
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                type(self).canceled += 1
                raise
            return reply("x")

    rows = [ask("slow"), ask("slow"), ask("fast")]
    with get_engine(Slow, model="m") as engine:
        with engine.run(rows) as run:
            assert next(iter(run)).index == 2
        assert Slow.canceled == 2


def test_stop_starts_no_further_row_and_hands_out_what_was_in_flight() -> None:
    gate = threading.Event()

    class Gated(Engine):
        started = 0

        async def complete(self, request: Request) -> Completion:
            type(self).started += 1
            await asyncio.to_thread(gate.wait, 30)
            return reply("x")

    with get_engine(Gated, model="m", num_workers=4) as engine:
        run = engine.run([ask("x")] * 100)

        def release() -> None:
            run.stop()
            gate.set()

        stopper = threading.Timer(0.1, release)
        stopper.start()
        results = list(run)
    assert len(results) == Gated.started == 4
    assert run.summary().interrupted
    assert run.summary().exit_code == 130


def test_the_input_may_be_an_async_iterator() -> None:
    async def rows() -> Any:
        for n in range(5):
            await asyncio.sleep(0)
            yield ask(str(n))

    with get_engine("echo", model="m") as engine:
        assert sorted(result.text for result in engine.run(rows())) == list("01234")


def test_an_error_of_the_input_is_raised_after_the_rows_before_it() -> None:
    def rows() -> Any:
        yield ask("one")
        raise DataError("rows.jsonl:2: broken")

    seen: list[str] = []
    with get_engine("echo", model="m") as engine:
        with pytest.raises(DataError, match=r"rows\.jsonl:2"):
            seen.extend(result.text for result in engine.run(rows()))
    assert seen in (["one"], [])
    with get_engine("echo", model="m") as engine:
        run = engine.run(rows())
        iterator = iter(run)
        assert next(iterator).text == "one"


def test_the_twins_work_in_a_running_loop() -> None:
    async def main() -> list[str]:
        async with get_engine("echo", model="m") as engine:
            (answer,) = await engine.ainfer([ask("a b")])
            texts = [answer[-1].text]
            async with engine.arun([ask("c")]) as run:
                texts += [result.text async for result in run]
            texts += [piece async for piece in engine.astream(ask("d e"))]
            texts += await engine.alist_models()
        return texts

    assert asyncio.run(main()) == ["a b", "c", "d ", "e", "m"]


def test_blocking_calls_work_inside_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> str:
        with get_engine("echo", model="m") as engine:
            return engine.infer([ask("hello")])[0][-1].text

    assert asyncio.run(cell()) == "hello"


def test_one_engine_serves_several_threads_at_once() -> None:
    answers: dict[int, list[str]] = {}
    with get_engine(Obedient, model="m") as engine:

        def use(name: int) -> None:
            rows = [ask(f"{name}-{n}") for n in range(200)]
            answers[name] = [answer[-1].text for answer in engine.infer(rows)]

        threads = [threading.Thread(target=use, args=(name,)) for name in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {name: [f"{name}-{n}" for n in range(200)] for name in range(6)}


def test_canceling_an_awaited_infer_cancels_the_engines_work() -> None:
    class Slow(Engine):
        canceled = False

        async def complete(self, request: Request) -> Completion:
            try:
                await asyncio.sleep(3600)
            finally:
                type(self).canceled = True
            return reply("x")

    async def main() -> None:
        async with get_engine(Slow, model="m") as engine:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(engine.ainfer([ask("x")]), 0.05)
            assert Slow.canceled

    asyncio.run(main())


def test_a_blocking_call_from_inside_an_engine_is_refused_instead_of_hanging() -> None:
    class Nested(Engine):
        async def complete(self, request: Request) -> Completion:
            with get_engine("echo", model="m") as inner:
                return reply(inner.infer([ask("x")])[0][-1].text)

    with get_engine(Nested, model="m") as engine:
        (result,) = engine.run([ask("x")])
    assert "awaitable twin" in str(result.exception)


class Recording(Engine):
    """Remembers what it was made with, started, asked and stopped."""

    log: ClassVar[list[str]] = []
    requests: ClassVar[list[Request]] = []
    capabilities: ClassVar[Capabilities] = Capabilities(guided=frozenset({"json"}), lora=True)

    async def start(self) -> None:
        self.log.append(f"start {self.config.model.model_name}")

    async def stop(self) -> None:
        self.log.append(f"stop {self.config.model.model_name}")

    async def complete(self, request: Request) -> Completion:
        self.requests.append(request)
        return reply('{"a": 1}')


@pytest.fixture
def recording() -> Any:
    Recording.log.clear()
    Recording.requests.clear()
    return Recording


def test_making_an_engine_loads_nothing_and_it_is_started_and_stopped_once(recording: Any) -> None:
    engine = get_engine(recording, model="m")
    assert recording.log == []
    engine.infer([ask("x")])
    engine.infer([ask("x")])
    assert recording.log == ["start m"]
    engine.close()
    engine.close()
    assert recording.log == ["start m", "stop m"]
    with pytest.raises(ConfigError, match="closed"):
        engine.infer([ask("x")])


def test_start_loads_before_the_first_row(recording: Any) -> None:
    with get_engine(recording, model="m") as engine:
        engine.start()
        assert recording.log == ["start m"]


def test_a_dropped_engine_is_stopped_without_close(recording: Any) -> None:
    engine = get_engine(recording, model="m")
    engine.infer([ask("x")])
    del engine
    with get_engine("echo", model="m") as other:
        for _ in range(200):
            other.infer([ask("x")])  # gives the private loop its turns
            if "stop m" in recording.log:
                break
    assert recording.log == ["start m", "stop m"]


def test_a_calls_config_replaces_whole_sections_for_that_call_only(recording: Any) -> None:
    config = InferenceConfig(
        model=ModelParams("m"), generation=GenerationParams(temperature=0.5, seed=7)
    )
    override = InferenceConfig(generation=GenerationParams(max_new_tokens=9))
    with get_engine(recording, config) as engine:
        engine.infer([ask("x")], override)
        engine.infer([ask("x")])
    first, second = (request.generation for request in recording.requests)
    assert (first.max_new_tokens, first.temperature, first.seed) == (9, 0.0, None)
    assert (second.max_new_tokens, second.temperature, second.seed) == (1024, 0.5, 7)


def test_another_model_in_a_call_makes_another_engine(recording: Any) -> None:
    with get_engine(recording, model="m") as engine:
        engine.infer([ask("x")])
        engine.infer([ask("x")], InferenceConfig(model=ModelParams("other")))
        engine.infer([ask("x")])
    assert recording.log == ["start m", "start other", "stop other", "stop m"]


def test_keywords_are_fields_of_any_params_class_by_name(recording: Any) -> None:
    with get_engine(
        recording, model="m", adapter_model="a", temperature=0.25, api_url="http://localhost"
    ) as engine:
        engine.infer([ask("x")])
        assert engine.config.remote_params is not None
        assert engine.config.remote_params.api_url == "http://localhost"
    (request,) = recording.requests
    assert (request.model.model_name, request.model.adapter_model) == ("m", "a")
    assert request.generation.temperature == 0.25


def test_keywords_keep_the_rest_of_the_section() -> None:
    config = InferenceConfig(
        model=ModelParams("m"), generation=GenerationParams(seed=7, temperature=0.5)
    )
    engine = get_engine("echo", config, temperature=0.1, model="n")
    assert engine.config.generation == GenerationParams(seed=7, temperature=0.1)
    assert engine.config.model == ModelParams("n")


def test_an_unknown_keyword_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"temperatur: .*did you mean temperature"):
        get_engine("echo", model="m", temperatur=1)


def test_no_model_is_an_error() -> None:
    with get_engine("echo") as engine, pytest.raises(ConfigError, match="model: missing"):
        engine.infer([ask("x")])


def test_no_engine_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="echo"):
        get_engine(model="m")


def test_the_config_names_the_engine() -> None:
    engine = get_engine(config=InferenceConfig(engine="ECHO", model=ModelParams("m")))
    assert engine.name == "echo"


def test_an_adapter_is_refused_by_an_engine_that_loads_none() -> None:
    with get_engine("echo", model="m", adapter_model="a") as engine:
        with pytest.raises(ConfigError, match=r"model.adapter_model: engine 'echo'"):
            engine.infer([ask("x")])


def test_a_parameter_that_the_engine_does_not_use_is_said_once_and_counted() -> None:
    with get_engine("echo", model="m", top_k=5, min_p=0.1) as engine:
        with pytest.warns(UserWarning, match=r"generation.min_p: .*; generation.top_k: "):
            run = engine.run([ask("x")] * 10)
        list(run)  # a second warning would be an error here
    assert run.summary().unsupported == ("min_p", "top_k")


def test_on_unsupported_error_refuses_such_a_parameter() -> None:
    with get_engine("echo", model="m", top_k=5, on_unsupported="error") as engine:
        with pytest.raises(ConfigError, match=r"generation.top_k"):
            engine.infer([ask("x")])


def test_the_bound_classes_take_oumis_arguments() -> None:
    with EchoInferenceEngine(
        ModelParams("m"), generation_params=GenerationParams(max_new_tokens=1)
    ) as engine:
        assert engine.infer([ask("a b")])[0][-1].text == "a "


def test_a_bound_class_without_its_plugin_or_library_says_what_to_install() -> None:
    with pytest.raises(PluginError, match=r"pip install oumi-vllm\[cuda\]"):
        with VLLMInferenceEngine(ModelParams("m")) as engine:
            engine.start()


def test_an_engine_that_cannot_start_raises_before_any_row() -> None:
    class Dead(Engine):
        async def start(self) -> None:
            raise ConfigError("model.model_name: no such file")

        async def complete(self, request: Request) -> Completion:
            raise AssertionError

    with get_engine(Dead, model="m") as engine, pytest.raises(ConfigError, match="no such file"):
        engine.infer([ask("x")])


def test_the_repr_shows_neither_key_nor_prompt() -> None:
    engine = get_engine("echo", model="m", api_key="sk-secret")
    assert "secret" not in repr(engine)
    assert "secret" not in repr(engine.config)


def test_a_keyword_by_a_fields_other_name_replaces_it() -> None:
    config = InferenceConfig(model=ModelParams("m", torch_dtype_str="bfloat16"))
    engine = get_engine("echo", config, torch_dtype="float16")
    assert engine.config.model is not None
    assert engine.config.model.torch_dtype_str == "float16"

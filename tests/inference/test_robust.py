"""What a hostile engine, input, consumer or moment cannot do: hang, crash or lose rows."""

from __future__ import annotations

import asyncio
import gc
import json
import queue
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from oumi_core import InferenceFailed, RunStopped, get_engine
from oumi_core.configs import InferenceConfig, ModelParams
from oumi_core.engine import Engine, Request
from oumi_core.errors import ConfigError, DataError, EngineError
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


def ask(text: str) -> Conversation:
    return Conversation([Message("user", text)])


class Odd(Engine):
    """Raises what no engine should, where the prompt says so."""

    async def complete(self, request: Request) -> Completion:
        match request.conversation[0].text:
            case "cancel":
                raise asyncio.CancelledError
            case "exit":
                sys.exit(3)
            case "interrupt":
                raise KeyboardInterrupt
            case "surrogate":
                return Completion(Message("assistant", "\ud800"))
        await asyncio.sleep(0)
        return Completion(Message("assistant", "fine"))


@pytest.mark.parametrize("what", ["cancel", "exit", "interrupt"])
def test_whatever_an_engine_raises_fails_its_row_and_nothing_else(what: str) -> None:
    with get_engine(Odd, model="m", num_workers=2) as engine:
        results = list(engine.run([ask("a"), ask(what), *[ask("b")] * 20]))
    assert [result.ok for result in sorted(results, key=lambda r: r.index)] == [
        True,
        False,
        *[True] * 20,
    ]
    (failed,) = (result for result in results if not result.ok)
    assert failed.error is not None
    assert failed.error.kind is FailureKind.INTERNAL


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_an_input_that_raises_what_it_should_not_is_a_fault_of_the_input(error: type) -> None:
    def rows() -> Iterator[Conversation]:
        yield ask("a")
        if error is GeneratorExit:
            raise ValueError("plain")
        raise error

    with get_engine(Odd, model="m") as engine:
        with pytest.raises((DataError, ValueError)):
            list(engine.run(rows()))
        assert engine.infer([ask("still there")])[0][-1].text == "fine"


@pytest.mark.parametrize("where", ["init", "start"])
def test_what_a_library_raises_when_it_is_brought_up_is_an_engine_error(where: str) -> None:
    class NoGpu(Engine):
        def __init__(self, config: Any) -> None:
            if where == "init":
                raise RuntimeError("no gpu here")

        async def start(self) -> None:
            raise RuntimeError("no gpu here")

        async def complete(self, request: Request) -> Completion:
            raise AssertionError

    with get_engine(NoGpu, model="m") as engine:
        with pytest.raises(EngineError, match="cannot be brought up: RuntimeError: no gpu here"):
            engine.infer([ask("a")])


def test_an_engine_need_not_call_the_constructor_of_its_base() -> None:
    class Own(Engine):
        def __init__(self, config: Any) -> None:
            self.greeting = config.model.model_name

        async def complete(self, request: Request) -> Completion:
            return Completion(Message("assistant", self.greeting))

    with get_engine(Own, model="hello") as engine:
        assert [engine.infer([ask("a")])[0][-1].text for _ in "12"] == ["hello", "hello"]


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no engine"):
        get_engine(dict, model="m")  # type: ignore[arg-type]


def test_rows_of_another_type_fail_and_say_what_they_are() -> None:
    with get_engine("echo", model="m") as engine:
        (result,) = engine.run([{"messages": []}])  # type: ignore[list-item]
    assert result.error is not None
    assert "the row is a dict, not a Conversation" in result.error.message


def test_a_generator_that_blocks_keeps_neither_a_run_nor_the_program() -> None:
    program = """
import threading
from oumi_core import get_engine
from oumi_core.types import Conversation, Message
def rows():
    yield Conversation([Message("user", "a")])
    threading.Event().wait()
with get_engine("echo", model="m") as engine:
    with engine.run(rows()) as run:
        print(next(run).text)
print("closed")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "a\nclosed\n"


def test_runs_that_read_each_others_results_do_not_wait_for_each_other() -> None:
    def through(engine: Any, rows: Any) -> Iterator[Conversation]:
        for result in engine.run(rows):
            yield ask(result.text)

    with get_engine("echo", model="m", num_workers=1) as engine:
        rows: Any = (ask(str(n)) for n in range(20))
        for _ in range(12):
            rows = through(engine, rows)
        assert sorted(int(row[0].text) for row in rows) == list(range(20))


def test_an_awaited_input_is_pulled_in_the_loop_of_its_owner() -> None:
    async def main() -> list[str]:
        waiting: asyncio.Queue[Conversation | None] = asyncio.Queue()

        async def rows() -> AsyncIterator[Conversation]:
            while (row := await waiting.get()) is not None:
                yield row

        async def feed() -> None:
            for n in range(3):
                await asyncio.sleep(0.01)
                waiting.put_nowait(ask(str(n)))
            waiting.put_nowait(None)

        feeding = asyncio.create_task(feed())
        async with get_engine("echo", model="m") as engine:
            texts = [result.text async for result in engine.arun(rows())]
        await feeding
        return texts

    assert asyncio.run(asyncio.wait_for(main(), 20)) == ["0", "1", "2"]


def test_who_writes_the_input_may_wait_for_each_answer() -> None:
    answers: queue.Queue[str] = queue.Queue()

    def rows() -> Iterator[Conversation]:
        said = "0"
        for _ in range(5):
            yield ask(said)
            said = str(int(answers.get(timeout=20)) + 1)

    with get_engine("echo", model="m") as engine:
        for result in engine.run(rows()):
            answers.put(result.text)
    assert answers.qsize() == 0 or answers.get() == "4"


class Slow(Engine):
    """Takes its time, and notes what becomes of it."""

    log: ClassVar[list[str]] = []

    async def start(self) -> None:
        self.log.append("start")

    async def stop(self) -> None:
        self.log.append("stop")

    async def complete(self, request: Request) -> Completion:
        try:
            await asyncio.sleep(0 if request.conversation[0].text == "fast" else 3600)
        except asyncio.CancelledError:
            self.log.append("canceled")
            raise
        return Completion(Message("assistant", "x"))


@pytest.fixture(autouse=True)
def _forget() -> None:
    Slow.log.clear()


def until(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_a_run_keeps_its_engine_alive() -> None:
    def start() -> Any:
        engine = get_engine(Slow, model="m")
        engine.start()
        return engine.run([ask("fast")] * 50)

    run = start()
    gc.collect()
    assert all(result.ok for result in run)


def test_a_run_that_is_dropped_is_canceled_and_lets_go_of_its_journal(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with get_engine(Slow, model="m") as engine:
        for result in engine.run([ask("fast"), ask("slow")], output_path=output):
            assert result.ok
            break
        until(lambda: "canceled" in Slow.log)

        def reused() -> bool:
            try:
                return all(
                    result.reused for result in engine.run([ask("fast")], output_path=output)
                )
            except ConfigError:  # it is let go of after the row
                return False

        until(reused)


def test_closing_the_engine_under_a_run_cancels_it_and_writes_no_failures(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with get_engine(Slow, model="m", num_workers=8) as engine:
        run = engine.run([ask("fast"), *[ask("slow")] * 30], output_path=output)
        assert next(run).ok
    assert Slow.log[-1] == "stop"
    with get_engine("echo", model="m") as engine:
        results = list(engine.run([ask("fast")] * 3, output_path=tmp_path / "other.jsonl"))
    assert all(result.ok for result in results)
    with get_engine(Slow, model="m") as engine:
        first = next(engine.run([ask("fast"), *[ask("slow")] * 30], output_path=output))
    assert first.reused


def test_closing_a_run_twice_at_once_lets_go_of_the_journal(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with get_engine(Slow, model="m") as engine:
        run = engine.run([ask("fast"), ask("slow")], output_path=output)
        next(run)
        closers = [threading.Thread(target=run.close) for _ in range(4)]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
        (result,) = engine.run([ask("fast")], output_path=output)
        assert result.reused


def test_a_run_that_was_closed_before_it_began_does_not_begin() -> None:
    with get_engine(Slow, model="m") as engine:
        run = engine.run([ask("fast")])
        run.close()
        assert list(run) == []
    assert Slow.log == []


def test_a_start_that_fails_is_followed_by_stop() -> None:
    class Half(Slow):
        async def start(self) -> None:
            await super().start()
            raise EngineError(Failure(FailureKind.ENGINE_DEAD, "half way"))

    with get_engine(Half, model="m") as engine, pytest.raises(EngineError, match="half way"):
        engine.infer([ask("fast")])
    assert Slow.log == ["start", "stop"]


def test_an_engine_that_does_not_stop_does_not_keep_the_others() -> None:
    class Bad(Slow):
        async def stop(self) -> None:
            await super().stop()
            if self.config.model.model_name == "bad":
                raise EngineError(Failure(FailureKind.INTERNAL, "stuck"))

    engine = get_engine(Bad, model="good")
    engine.infer([ask("fast")])
    engine.infer([ask("fast")], InferenceConfig(model=ModelParams("bad")))
    with pytest.raises(EngineError, match="stuck"):
        engine.close()
    assert Slow.log.count("stop") == 2


def test_the_output_is_checked_before_the_model_is_loaded(tmp_path: Path) -> None:
    with get_engine(Slow, model="m") as engine, pytest.raises(ConfigError, match="output_path"):
        list(engine.run([ask("fast")], output_path=tmp_path))
    assert Slow.log == []


class Broke(Engine):
    """Its account is empty until it is paid."""

    paid: ClassVar[bool] = False

    async def complete(self, request: Request) -> Completion:
        if not self.paid and request.conversation[0].text != "first":
            raise EngineError(Failure(FailureKind.QUOTA, "nothing left", status=402))
        return Completion(Message("assistant", "x"))


def test_rows_that_met_what_stopped_the_run_are_done_by_the_next_one(tmp_path: Path) -> None:
    rows = [ask("first"), *(ask(str(n)) for n in range(20))]
    output = tmp_path / "out.jsonl"
    Broke.paid = False
    config = InferenceConfig(output_path=str(output))
    with get_engine(Broke, model="m", num_workers=4) as engine:
        with pytest.raises(RunStopped, match="nothing left"):
            engine.infer(rows, config)
        Broke.paid = True
        assert len(engine.infer(rows, config)) == 21
    assert len(output.read_text().splitlines()) == 21


@pytest.mark.parametrize("metadata", [{"a": object()}, {"a": "\ud800"}])
def test_a_row_that_cannot_be_written_fails_before_it_is_paid_for(
    tmp_path: Path, metadata: dict[str, Any]
) -> None:
    rows = [Conversation([Message("user", "a")], metadata=metadata), ask("b")]
    with get_engine(Odd, model="m") as engine:
        run = engine.run(rows, output_path=tmp_path / "out.jsonl")
        results = sorted(run, key=lambda result: result.index)
    assert [result.ok for result in results] == [False, True]
    assert results[0].error is not None
    assert "cannot be written as JSON" in results[0].error.message
    assert results[0].attempts == 0


def test_an_answer_that_cannot_be_written_fails_its_row_only(tmp_path: Path) -> None:
    with get_engine(Odd, model="m") as engine:
        rows = [ask("surrogate"), ask("b")]
        with pytest.raises(InferenceFailed) as caught:
            engine.infer(rows, InferenceConfig(output_path=str(tmp_path / "out.jsonl")))
    first, second = caught.value.results
    assert first.error is not None
    assert first.error.kind is FailureKind.INVALID_OUTPUT
    assert second.ok
    (line,) = (tmp_path / "out.jsonl.failed.jsonl").read_text().splitlines()
    assert json.loads(line)["failure"]["index"] == 0


def test_a_damaged_record_is_as_good_as_none(tmp_path: Path) -> None:
    import sqlite3

    output = tmp_path / "out.jsonl"
    with get_engine("echo", model="m") as engine:
        list(engine.run([ask("a")], output_path=output))
        with sqlite3.connect(f"{output}.oumi.db") as database:
            database.execute("UPDATE result SET record = '{oops'")
        database.close()
        (result,) = engine.run([ask("a")], output_path=output)
    assert result.ok
    assert not result.reused


def test_many_equal_rows_resume_as_fast_as_others(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    rows = [ask("same")] * 6000
    with get_engine("echo", model="m") as engine:
        list(engine.run(rows, output_path=output))
        run = engine.run(rows, output_path=output)
        assert all(result.reused for result in run)
    assert run.summary().reused == 6000
    assert run.summary().prompt_tokens == 0


def test_closing_a_run_that_looks_rows_up_does_not_crash(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    rows = [ask(str(n)) for n in range(3000)]
    with get_engine("echo", model="m") as engine:
        list(engine.run(rows, output_path=output))
        for _ in range(15):
            run = engine.run(iter(rows), output_path=output)
            next(run)
            run.close()
        assert all(result.reused for result in engine.run(rows, output_path=output))


def test_a_run_that_is_stopped_when_all_rows_have_begun_is_whole(tmp_path: Path) -> None:
    class Gated(Engine):
        gate = threading.Event()

        async def complete(self, request: Request) -> Completion:
            await asyncio.to_thread(self.gate.wait, 20)
            return Completion(Message("assistant", "x"))

    output = tmp_path / "out.jsonl"
    with get_engine(Gated, model="m", num_workers=4) as engine:
        run = engine.run([ask("a")] * 4, output_path=output)
        threading.Timer(0.2, lambda: [run.stop(), Gated.gate.set()]).start()  # type: ignore[func-returns-value]
        assert len(list(run)) == 4
    assert run.stopped() is None
    assert len(output.read_text().splitlines()) == 4


def test_a_run_that_raised_says_so_in_its_summary() -> None:
    class Dead(Engine):
        async def start(self) -> None:
            raise EngineError(Failure(FailureKind.ENGINE_DEAD, "no"))

        async def complete(self, request: Request) -> Completion:
            raise AssertionError

    with get_engine(Dead, model="m") as engine:
        run = engine.run([ask("a")])
        with pytest.raises(EngineError):
            list(run)
    assert run.summary().exit_code == 3


def test_an_engine_that_streams_a_plain_iterator_will_do() -> None:
    class Plain:
        def __init__(self) -> None:
            self.left = ["a", Completion(Message("assistant", "a"))]

        def __aiter__(self) -> Plain:
            return self

        async def __anext__(self) -> Any:
            from oumi_core.types import Chunk

            if not self.left:
                raise StopAsyncIteration
            piece = self.left.pop(0)
            return Chunk(piece) if isinstance(piece, str) else piece

    class Streams(Engine):
        async def complete(self, request: Request) -> Completion:
            raise AssertionError

        def stream(self, request: Request) -> Any:
            return Plain()

    with get_engine(Streams, model="m") as engine:
        assert list(engine.stream(ask("x"))) == ["a"]

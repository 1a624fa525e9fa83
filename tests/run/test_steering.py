"""What a caller sees of a run that goes on, and how it is held up and let go."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from oumi_core import get_engine
from oumi_core.configs import InferenceConfig
from oumi_core.engine import Engine, Request
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Gated(Engine):
    """Answers row `slow` when its gate is opened, and any other at once; refuses `bad`."""

    gate = asyncio.Event()

    async def complete(self, request: Request) -> Completion:
        text = request.conversation[0].text
        if text == "slow":
            await self.gate.wait()
        if text == "bad":
            raise EngineError(Failure(FailureKind.BAD_REQUEST, "as told"))
        return Completion(Message("assistant", text))


@pytest.fixture(autouse=True)
def _close() -> None:
    Gated.gate = asyncio.Event()


def rows(*texts: str) -> Iterator[Conversation]:
    return (Conversation([Message("user", text)]) for text in texts)


def read(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.read_text())
    return fields


def test_a_paused_run_begins_nothing_and_loses_nothing() -> None:
    with get_engine(Gated, model="m", num_workers=4) as engine:
        run = engine.run(rows(*map(str, range(5000))))
        results = iter(run)
        next(results)
        run.pause()
        seen = 1
        while run.in_flight or seen < run.summary().rows:
            next(results)
            seen += 1
        assert seen < 5000
        run.resume()
        assert seen + sum(1 for _ in results) == 5000


def test_a_run_that_is_stopped_gives_up_an_engine_that_is_being_loaded(tmp_path: Path) -> None:
    log: list[str] = []
    loading = threading.Event()

    class Loading(Gated):
        async def start(self) -> None:
            log.append("start")
            loading.set()
            await asyncio.Event().wait()

        async def stop(self) -> None:
            log.append("stop")

    with get_engine(Loading, model="m") as engine:
        run = engine.run(rows("a", "b"), output_path=tmp_path / "out.jsonl")

        def stop() -> None:
            loading.wait(60)
            run.stop()

        threading.Thread(target=stop).start()

        assert list(run) == []

        assert log == ["start", "stop"]
        assert str(run.stopped()) == "the run was stopped after 0 rows"
    with get_engine(Gated, model="m") as engine:
        again = engine.run(rows("a", "b"), output_path=tmp_path / "out.jsonl")
        assert [result.ok for result in again] == [True, True]


def test_an_engine_that_raises_while_it_is_loaded_is_not_taken_for_a_stop() -> None:
    class Late(Gated):
        async def start(self) -> None:
            raise TimeoutError("no answer from the driver")

    with get_engine(Late, model="m") as engine, pytest.raises(EngineError, match="no answer"):
        engine.infer(list(rows("a")))


def test_a_row_is_sent_though_the_input_has_no_second_one_yet() -> None:
    answered = threading.Event()

    def source() -> Iterator[Conversation]:
        yield from rows("first")
        assert answered.wait(60)
        yield from rows("second")

    with get_engine(Gated, model="m") as engine:
        results = iter(engine.run(source()))
        assert next(results).text == "first"
        answered.set()
        assert next(results).text == "second"


def test_the_progress_file_says_how_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "progress.json"
    config = InferenceConfig(progress_path=str(path))
    with get_engine(Gated, model="m") as engine:
        list(engine.run(list(rows("a", "bad", "c")), inference_config=config))
    fields = read(path)
    assert datetime.fromisoformat(fields.pop("updated_at")).tzinfo is not None
    assert fields == {"total": 3, "completed": 2, "failed": 1}
    assert [file.name for file in path.parent.iterdir()] == ["progress.json"]


def test_the_progress_file_is_kept_up_to_date_while_a_row_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    config = InferenceConfig(progress_path=str(path))
    with get_engine(Gated, model="m") as engine:
        run = engine.run(rows("a", "b", "slow"), inference_config=config)
        with run:
            results = iter(run)
            next(results)
            next(results)
            while read(path)["completed"] != 2:
                threading.Event().wait(0.01)
            assert run.in_flight == 1
            assert read(path)["total"] is None


def test_a_progress_file_that_cannot_be_written_is_said_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    config = InferenceConfig(progress_path=str(tmp_path / "file" / "progress.json"))
    with get_engine(Gated, model="m") as engine:
        with pytest.raises(ConfigError, match="progress_path: cannot write "):
            engine.infer(list(rows("a")), config)


def test_a_progress_file_that_fails_later_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    config = InferenceConfig(progress_path=str(folder / "progress.json"))

    def source() -> Iterator[Conversation]:
        yield from rows("a")
        (folder / "progress.json").unlink()
        folder.rmdir()
        folder.touch()

    with get_engine(Gated, model="m") as engine:
        (result,) = engine.run(source(), inference_config=config)
    assert result.ok
    assert caplog.text.count("progress_path: cannot write") == 1

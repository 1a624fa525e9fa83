from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from asking import FRANCE, PARIS, new_engine, request, with_engine
from oumi_core.errors import EngineError
from oumi_core.types import FailureKind

if TYPE_CHECKING:
    import pytest

    from oumi_llamacpp.engine import LlamaCppEngine

ENDLESS = request(max_new_tokens=1900, extra_body={"ignore_eos": True})


async def answer(engine: LlamaCppEngine) -> str:
    return (await engine.complete(request())).text


def open_files() -> list[str]:
    names = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the names are what is wanted
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115 - a plain text
    return names


def native_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_stop_frees_all_threads() -> None:
    with_engine(new_engine(), answer)  # what the libraries keep for good is there from now on
    before, named = native_threads(), threading.active_count()

    for _ in range(3):
        assert with_engine(new_engine(), answer) == PARIS

    assert threading.active_count() == named
    # A thread that was joined may be seen by the system for a moment longer.
    for _ in range(500):
        if native_threads() <= before:
            break
        time.sleep(0.01)
    assert native_threads() <= before


def test_two_instances_work_side_by_side_and_one_after_its_stop() -> None:
    first, second = new_engine(), new_engine(engine_args={"n_parallel": 2})

    async def both() -> list[str]:
        await asyncio.gather(first.start(), second.start())
        answers = list(await asyncio.gather(answer(first), answer(second)))
        await first.stop()
        answers.append(await answer(second))
        await first.start()
        answers.append(await answer(first))
        await asyncio.gather(first.stop(), second.stop())
        return answers

    assert asyncio.run(both()) == [PARIS] * 4


def test_stop_ends_what_is_under_way() -> None:
    async def stop_in_the_middle() -> list[object]:
        engine = new_engine()
        await engine.start()

        async def read() -> None:
            async for _ in engine.stream(ENDLESS):
                pass

        tasks = [asyncio.ensure_future(engine.complete(ENDLESS)) for _ in range(20)]
        tasks.append(asyncio.ensure_future(read()))  # type: ignore[arg-type]
        await asyncio.sleep(0.2)
        await engine.stop()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    ends = asyncio.run(stop_in_the_middle())

    assert all(isinstance(end, EngineError) for end in ends), ends
    assert {end.failure.kind for end in ends if isinstance(end, EngineError)} == {
        FailureKind.CANCELED
    }


def test_stop_without_start_and_twice_does_nothing() -> None:
    async def stop_often() -> None:
        engine = new_engine()
        await engine.stop()
        await engine.start()
        await engine.stop()
        await engine.stop()

    asyncio.run(stop_often())


SCRIPT = """
import asyncio
from oumi_core.configs import GenerationParams, ModelParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.types import Conversation, Message
from oumi_llamacpp.engine import LlamaCppEngine

async def main():
    model = ModelParams("demo", model_kwargs={kwargs})
    engine = LlamaCppEngine(EngineConfig(model))
    await engine.start()
    conversation = Conversation([Message("user", {question!r})])
    print((await engine.complete(Request(conversation, model, GenerationParams()))).text)
    {end}

asyncio.run(main())
"""


def run(kwargs: str = "{}", end: str = "await engine.stop()") -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(kwargs=kwargs, question=FRANCE, end=end)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


def test_the_log_is_quiet() -> None:
    done = run()

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{PARIS}\n", "")


def test_the_log_comes_when_it_is_asked_for() -> None:
    done = run("{'verbose': True}")

    assert "llama" in done.stderr
    assert PARIS in done.stdout


def test_a_long_path_of_temporary_files_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))

    assert run().stdout == f"{PARIS}\n"


def test_a_process_that_does_not_stop_the_engine_ends_all_the_same() -> None:
    done = run(end="pass")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{PARIS}\n", "")


def test_nobody_can_reach_the_model_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sockets(engine: LlamaCppEngine) -> list[str]:
        assert await answer(engine) == PARIS
        return [target for target in open_files() if target.startswith("socket:")]

    # A folder of its own: the tests beside this one make sockets in the system's.
    with tempfile.TemporaryDirectory(prefix="life-") as own:
        monkeypatch.setattr(tempfile, "tempdir", own)
        inodes = {name[8:-1] for name in with_engine(new_engine(), sockets)}
        left = list(Path(own).iterdir())
    tcp = Path("/proc/self/net/tcp").read_text().splitlines()[1:]

    assert inodes
    assert [line for line in tcp if line.split()[9] in inodes] == []
    assert left == []


def test_the_plugin_imports_nothing_heavy() -> None:
    script = (
        "import sys, oumi_llamacpp.hooks as hooks\n"
        "assert hooks.oumi_engines()['llamacpp']\n"
        "print(sorted({'xllamacpp', 'numpy', 'asyncio', 'oumi_core.engine'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"

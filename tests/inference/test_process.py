"""What becomes of engines, threads and tasks when a process ends, forks or is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

COMMON = """
import asyncio, os, sys, threading
from oumi_core import get_engine
from oumi_core.engine import Engine
from oumi_core.types import Completion, Conversation, Message

class Loud(Engine):
    async def start(self): print("start", flush=True)
    async def stop(self): print("stop", flush=True)
    async def complete(self, request):
        if request.conversation[0].text == "sleep":
            try:
                print("asleep", flush=True)
                await asyncio.sleep(3600)
            finally:
                print("let go", flush=True)
        return Completion(Message("assistant", "x"))

def ask(text): return [Conversation([Message("user", text)])]
"""


def script(body: str) -> list[str]:
    # What a new release of something deprecates is no matter here.
    deprecated = ("-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning")
    strict = ("-W", "error", *deprecated)
    return [sys.executable, *strict, "-c", COMMON + textwrap.dedent(body)]


def output_of(body: str) -> str:
    done = subprocess.run(script(body), capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout


def test_an_engine_that_is_never_closed_is_closed_at_exit() -> None:
    assert output_of("engine = get_engine(Loud, model='m'); engine.infer(ask('x'))") == (
        "start\nstop\n"
    )


def test_an_engine_that_stops_in_another_thread_can_do_so_at_exit() -> None:
    body = """
        class Threaded(Loud):
            async def stop(self): await asyncio.to_thread(print, "stop in a thread", flush=True)

        engine = get_engine(Threaded, model="m"); engine.infer(ask("x"))
        """
    assert output_of(body) == "start\nstop in a thread\n"


def test_a_script_that_ends_by_an_exception_closes_its_engine() -> None:
    body = "engine = get_engine(Loud, model='m'); engine.infer(ask('x')); sys.exit(4)"
    done = subprocess.run(script(body), capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("start\nstop\n", 4)


def test_a_run_that_is_dropped_half_way_does_not_keep_the_process_from_ending() -> None:
    body = """
        engine = get_engine(Loud, model="m")
        run = engine.run(ask("sleep") + ask("x"))
        next(iter(run))
        """
    assert output_of(body).splitlines()[:2] == ["start", "asleep"]


def test_an_engine_that_the_garbage_collector_finds_while_the_loop_is_made_does_not_hang(
    tmp_path: Path,
) -> None:
    # Takes the place of uvloop, where it is installed, and of what else may collect just then.
    (tmp_path / "uvloop.py").write_text(
        "import asyncio, gc\n"
        "def new_event_loop():\n"
        "    gc.collect()\n"
        "    return asyncio.new_event_loop()\n"
    )
    body = f"""
        import gc
        sys.path.insert(0, {str(tmp_path)!r})
        gc.disable()
        cycle = [get_engine(Loud, model="m")]

        async def run():
            async def keep(result): print(result.ok)
            await cycle[0].run(ask("x")).execute(keep)

        asyncio.run(run())
        cycle.append(cycle)
        del cycle
        get_engine(Loud, model="m").infer(ask("x"))
        """
    lines = output_of(body).splitlines()
    assert lines[:2] == ["start", "True"]
    assert sorted(lines[2:]) == ["start", "stop", "stop"]


def test_ctrl_c_in_a_blocking_call_cancels_the_work_before_it_is_raised() -> None:
    body = """
        engine = get_engine(Loud, model="m")
        try:
            engine.infer(ask("sleep"))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    with subprocess.Popen(script(body), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["start\n", "asleep\n"]
        time.sleep(0.2)  # so that the main thread waits; a signal before that would be raised too
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()  # one that has not ended, which leaving the block would wait for
        assert process.stdout.read() == "let go\ninterrupted\nstop\n"
    assert process.returncode == 0


def test_the_test_of_ctrl_c_ends_though_what_started_it_ignores_sigint() -> None:
    name = test_ctrl_c_in_a_blocking_call_cancels_the_work_before_it_is_raised.__name__
    pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::{name}")
    done = subprocess.run(
        ["bash", "-c", 'trap "" INT; exec "$@"', "bash", *pytest],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout


def test_a_closed_engine_leaves_no_task_and_one_thread() -> None:
    body = """
        from oumi_core.loop import run_blocking
        async def tasks(): return len(asyncio.all_tasks())
        for _ in range(3):
            with get_engine(Loud, model="m", num_workers=50) as engine:
                engine.infer(ask("x") * 100)
                list(engine.run(ask("x") * 100))
                list(engine.stream(ask("x")[0]))
        names = sorted(thread.name for thread in threading.enumerate())
        print(run_blocking(tasks()), names)
        """
    assert output_of(body).splitlines()[-1] == "1 ['MainThread', 'oumi-loop']"


def test_a_forked_child_gets_a_loop_of_its_own() -> None:
    body = """
        with get_engine("echo", model="m") as engine:
            engine.infer(ask("x"))
        sys.stdout.flush()
        if os.fork() == 0:
            with get_engine("echo", model="m") as engine:
                print("child", engine.infer(ask("y"))[0][-1].text, flush=True)
            os._exit(0)
        os.wait()
        print("parent", flush=True)
        """
    assert output_of(body) == "child y\nparent\n"


def test_an_engine_that_does_not_stop_does_not_keep_the_process_for_ever() -> None:
    body = """
        class Stuck(Loud):
            async def stop(self): raise RuntimeError("stuck")
        engine = get_engine(Stuck, model="m")
        engine.infer(ask("x"))
        """
    done = subprocess.run(script(body), capture_output=True, text=True, timeout=60, check=False)
    assert "RuntimeError: stuck" in done.stderr

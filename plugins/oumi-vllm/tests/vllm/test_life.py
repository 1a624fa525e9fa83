"""Runs that are killed, and what they leave behind: no process, and every finished row."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asking import TINY
from loaded import SHARE
from processes import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow  # each start loads vLLM

OUMI = Path(sysconfig.get_path("scripts")) / "oumi"
GENEROUS = 60.0
"""Seconds that nothing here comes near, unless it hangs."""

SUMS = [(a, b) for a in range(13) for b in range(13)] * 5
CONFIG = {
    "engine": "VLLM",
    "model": {"model_name": TINY, "torch_dtype_str": "float32", "model_max_length": 1024},
    "generation": {"max_new_tokens": 40},
    "engine_args": {"enforce_eager": True, "gpu_memory_utilization": SHARE},
    "num_workers": 4,
}


class Command:
    """`oumi infer` over the sums, as a program that can be watched and killed."""

    def __init__(self, folder: Path) -> None:
        command = [str(OUMI), "infer", "-c", "c.yaml", "--input_path", "in.jsonl"]
        self._log = (folder / "log.txt").open("w+")
        self._process = subprocess.Popen(
            [*command, "--output_path", "out.jsonl", "--progress", "json"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,  # so that Ctrl-C can be sent to all of it, as a terminal does
        )
        self.seen: list[int] = []

    def wait_for(self, rows: int) -> None:
        """Wait until so many rows are new in this run."""
        self._wait(lambda: any(event["rows"] - event["reused"] >= rows for event in self.events()))

    def wait_for_core(self) -> None:
        """Wait until vLLM has started its engine core, which then loads the model."""
        self._wait(lambda: any("EngineCore" in name_of(pid) for pid in self._started()))

    def _wait(self, reached: Callable[[], bool]) -> None:
        until = time.monotonic() + 4 * GENEROUS
        while not reached():
            assert time.monotonic() < until, self.log()
            assert self._process.poll() is None, self.log()
            time.sleep(0.05)
        self.seen = self._started()

    def _started(self) -> list[int]:
        with contextlib.suppress(FileNotFoundError):  # one has just ended
            return [*processes(self._process.pid)][1:]
        return self._started()

    def events(self) -> Iterator[dict[str, Any]]:
        for line in self.log().splitlines():
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == "progress":
                yield event

    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text()

    def kill(self, number: int) -> None:
        self._process.send_signal(number)

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends it to all processes at once."""
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> int:
        return self._process.wait(4 * GENEROUS)

    def clean(self) -> None:
        """Leave nothing, whatever a test has found."""
        self._log.close()
        for pid in [self._process.pid, *self.seen]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[str]:
        """What still runs of all that it had started."""
        return still_running(self.seen)


def name_of(pid: int) -> str:
    """What runs under a number; empty if nothing does, or it has ended and is not waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text()
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields.rpartition(")")[2].split()[0] in "ZX" else " ".join(words)


def still_running(pids: list[int]) -> list[str]:
    """What runs of some processes, once they have had the time to end."""
    until = time.monotonic() + GENEROUS
    while (names := list(filter(None, map(name_of, pids)))) and time.monotonic() < until:
        time.sleep(0.1)
    return names


def worker(pids: list[int]) -> int:
    """The process that runs the model; it can be the engine core, which test_revival kills."""
    names = {name_of(pid): pid for pid in pids}
    (found,) = [pid for name, pid in names.items() if "Worker" in name] or [
        pid for name, pid in names.items() if "EngineCore" in name
    ]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text(json.dumps(CONFIG))  # JSON is YAML
    with (tmp_path / "in.jsonl").open("w") as file:
        for a, b in SUMS:
            file.write(json.dumps({"prompt": f"What is {a}+{b}?"}) + "\n")
    return tmp_path


@pytest.fixture
def started(folder: Path) -> Iterator[Callable[[], Command]]:
    commands: list[Command] = []

    def start() -> Command:
        commands.append(Command(folder))
        return commands[-1]

    yield start
    for command in commands:
        command.clean()


SCRIPT = """
import pathlib
import oumi_core
from oumi_core.configs import InferenceConfig
from oumi_core.types import Conversation, Message

engine = oumi_core.get_engine("vllm", InferenceConfig.from_yaml("c.yaml"))
print(engine.infer([Conversation([Message("user", "What is 2+2?")])])[0][-1].text)
threads = pathlib.Path("/proc/self/task").iterdir()
print(*((thread / "children").read_text() for thread in threads), flush=True)
raise SystemExit("something went wrong")
"""


def test_a_script_without_a_guard_runs_and_leaves_nothing_when_it_fails(folder: Path) -> None:
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py"]

    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "TMPDIR": temporary},
            capture_output=True,
            text=True,
            check=False,
        )
        left = {path.name for path in Path(temporary).iterdir()}

    assert "something went wrong" in done.stderr
    assert done.returncode == 1, done.stderr
    answer, pids = done.stdout.splitlines()
    assert answer == "The sum of 2 and 2 is 4."
    started = list(map(int, pids.split()))
    assert started
    assert still_running(started) == []
    assert {name for name in left if not name.startswith("torchinductor")} == set()  # torch's cache


def test_ctrl_c_gives_up_the_load(started: Callable[[], Command]) -> None:
    loading = started()
    loading.wait_for_core()

    loading.interrupt()

    assert loading.end() == 130, loading.log()
    assert loading.left() == []
    assert "Loading safetensors" not in loading.log()


def test_a_run_goes_on_however_it_ended_and_leaves_no_process(
    folder: Path, started: Callable[[], Command]
) -> None:
    killed = started()
    killed.wait_for(30)
    killed.kill(signal.SIGKILL)
    assert killed.end() == -signal.SIGKILL
    assert len(killed.seen) >= 2
    assert killed.left() == []

    dead = started()
    dead.wait_for(30)
    os.kill(worker(dead.seen), signal.SIGKILL)
    assert dead.end() == 3, dead.log()
    assert "engine_dead" in dead.log() or "engine core has ended" in dead.log()
    assert dead.left() == []

    interrupted = started()
    interrupted.wait_for(30)
    interrupted.interrupt()
    assert interrupted.end() == 130, interrupted.log()
    assert interrupted.left() == []
    (*_, last) = interrupted.events()
    assert last["failed"] == {}  # what was in flight was finished, not lost
    assert last["reused"] >= 60

    finished = started()
    assert finished.end() == 0, finished.log()
    answers = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in answers] == [
        f"The sum of {a} and {b} is {a + b}." for a, b in SUMS
    ]

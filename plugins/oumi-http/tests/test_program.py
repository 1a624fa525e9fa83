"""`oumi infer` over a server that fails, and killed while it asks one."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from oumi_core.testing import FaultServer, completion, error

if TYPE_CHECKING:
    from oumi_core.testing.replies import Entry

OUMI = Path(sysconfig.get_path("scripts")) / "oumi"
ROWS, WORKERS = 1000, 16
KILLS = int(os.environ.get("OUMI_KILLS", "3"))
"""How often a run is killed; each kill takes most of a second."""


@attrs.frozen
class Job:
    """A file of rows, and the command that has a server answer them."""

    folder: Path

    @property
    def answers(self) -> list[str]:
        lines = (self.folder / "out.jsonl").read_text().splitlines()
        return [json.loads(line)["messages"][-1]["content"] for line in lines]

    def start(self, server: FaultServer, *options: str) -> subprocess.Popen[str]:
        (self.folder / "in.jsonl").write_text(
            "".join(f'{{"prompt": "row {number}"}}\n' for number in range(ROWS))
        )
        return subprocess.Popen(
            [
                *(OUMI, "infer", "--engine", "remote", "--model.model_name", "m"),
                *("--input_path", "in.jsonl", "--output_path", "out.jsonl"),
                *("--remote_params.api_url", server.url, "--num_workers", str(WORKERS)),
                *("--remote_params.api_key", "sk-test", *options),
            ],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, server: FaultServer, *options: str) -> tuple[int, str]:
        """Run it to its end: the exit code, and what it said."""
        with self.start(server, *options) as process:
            _, said = process.communicate(timeout=60)
        return process.returncode, said


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


ALL = [f"row {number}" for number in range(ROWS)]


@pytest.mark.parametrize(
    "line",
    [
        error(429, "pay", code="insufficient_quota", error_type="insufficient_quota"),
        error(402, "pay"),
        error(401, "who are you?"),
    ],
    ids=["quota", "402", "401"],
)
def test_an_account_that_is_refused_ends_it_with_3_and_it_goes_on_later(
    job: Job, line: Entry
) -> None:
    with FaultServer(then=line) as server:
        code, said = job.run(server)
        seconds = time.monotonic() - server.requests[0].time
    assert code == 3
    assert "the same command goes on from here" in said
    assert 1 <= len(server.requests) <= WORKERS
    assert seconds < 5
    assert not (job.folder / "out.jsonl").exists()
    with FaultServer() as server:
        assert job.run(server)[0] == 0
    assert job.answers == ALL
    assert len(server.requests) == ROWS


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_at_any_moment_it_repeats_at_most_what_was_in_flight(
    job: Job, by: signal.Signals
) -> None:
    moments = random.Random(20261122)  # noqa: S311 - moments, not secrets
    with FaultServer(then=completion(delay=0.002)) as server:
        for _ in range(KILLS):
            before = len(server.requests)
            process = job.start(server)
            while len(server.requests) == before and process.poll() is None:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.1))
            process.send_signal(by)
            process.communicate()
        assert job.run(server)[0] == 0
        sent = len(server.requests)
    assert job.answers == ALL
    # Ctrl-C and SIGTERM let what is in flight finish.
    repeats = KILLS * WORKERS if by is signal.SIGKILL else 0
    assert ROWS <= sent <= ROWS + repeats

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


def test_a_budget_ends_it_with_3_and_a_larger_one_goes_on(job: Job) -> None:
    prices = ("--budget.prices.m.input", "1", "--budget.prices.m.output", "2")
    # A row is two tokens in and two out; it may be 22 in and 10 out.
    options = (*prices, "--generation.max_new_tokens", "10")
    with FaultServer() as server:
        code, said = job.run(server, *options, "--budget.max_cost", "0.003")
        first = len(server.requests)
        assert code == 3
        assert "budget.max_cost (0.003) is used up: " in said
        assert "the same command goes on from here" in said
        assert 490 <= first <= 500
        code, said = job.run(server, *options, "--budget.max_cost", "0.003")
        assert (code, len(server.requests)) == (3, first)
        code, said = job.run(server, *options, "--budget.max_cost", "0.0061")
        assert (code, len(server.requests)) == (0, ROWS)
    assert job.answers == ALL
    shown = subprocess.run(
        [OUMI, "runs", "show", "out.jsonl"],
        cwd=job.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "2,000 tokens in, 2,000 out; cost 0.006;" in shown.stdout


def test_a_deadline_ends_it_with_3_and_the_same_command_goes_on(job: Job) -> None:
    with FaultServer(then=completion(delay=0.05)) as server:
        code, said = job.run(server, "--budget.deadline", "0.8")
        assert code == 3
        assert "budget.deadline (0.8 s) is over" in said
        assert len(server.requests) < ROWS
        assert job.run(server)[0] == 0
        assert len(server.requests) == ROWS
    assert job.answers == ALL


def test_a_model_without_a_price_is_wrong_use(job: Job) -> None:
    options = ("--budget.max_cost", "1", "--budget.prices.n.input", "1")
    with FaultServer() as server:
        code, said = job.run(server, *options, "--budget.prices.n.output", "2")
        assert (code, server.requests) == (2, ())
    assert "budget.prices: no price for the model 'm', which max_cost needs" in said

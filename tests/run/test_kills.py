"""A run that is killed, at whatever moment, goes on where it was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from typing import Any

import pytest

KILLS = int(os.environ.get("OUMI_KILLS", "8"))
"""How often each run is killed; each kill takes about a third of a second."""
RENAMES = "rename,renameat,renameat2"
FILES = (".tmp", ".oumi.db", ".oumi.db-wal", ".oumi.db-journal")


def assert_whole(thousand: Any) -> None:
    lines = [json.loads(line) for line in thousand.out.read_text().splitlines()]
    assert [line["conversation_id"] for line in lines] == [str(n) for n in range(1000)]
    assert all(line["messages"][-1]["content"].startswith("re row") for line in lines)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_any_moment_it_loses_no_row_and_repeats_at_most_what_was_in_flight(
    thousand: Any, by: signal.Signals
) -> None:
    moments = random.Random(20261122)  # noqa: S311 - moments, not secrets
    done: set[str] = set()
    for _ in range(KILLS):
        process = subprocess.Popen(
            thousand.command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        first = process.stdout.readline()  # it runs
        time.sleep(moments.uniform(0, 0.08))
        process.send_signal(by)
        told = first + process.stdout.read()
        process.wait()
        process.stdout.close()
        # The last line may be torn by the kill.
        done.update(line for line in told.splitlines(keepends=True) if line.endswith("\n"))
    assert thousand.run().returncode == 0
    assert_whole(thousand)
    assert done  # rows were reported before a kill, and all are in the output
    assert 1000 <= len(thousand.sent()) <= 1000 + KILLS * 16


@pytest.mark.usefixtures("strace")
def test_killed_between_the_writing_of_the_output_and_its_renaming_it_sends_nothing_again(
    thousand: Any,
) -> None:
    written = thousand.out.with_name("out.jsonl.tmp")
    thousand.injected(f"{RENAMES}:signal=KILL", written)
    assert "killed by SIGKILL" in thousand.trace.read_text()
    assert written.read_bytes()
    assert not thousand.out.exists()
    assert thousand.run().returncode == 0
    assert_whole(thousand)
    assert not written.exists()
    assert len(thousand.sent()) == 1000


@pytest.mark.usefixtures("strace")
def test_killed_before_the_renaming_it_leaves_the_output_of_an_earlier_run_as_it_was(
    thousand: Any,
) -> None:
    thousand.out.write_text("of an earlier run\n")
    written = thousand.out.with_name("out.jsonl.tmp")
    thousand.injected(f"{RENAMES}:signal=KILL", written)
    assert thousand.out.read_text() == "of an earlier run\n"
    assert thousand.run().returncode == 0
    assert_whole(thousand)


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("when", [1, 2, 3, 5, 8, 40, 300])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", RENAMES])
def test_killed_at_a_call_that_changes_a_file_it_loses_no_row(
    thousand: Any, call: str, when: int
) -> None:
    files = [thousand.out.with_name(f"out.jsonl{end}") for end in FILES]
    done = thousand.injected(f"{call}:signal=KILL:when={when}", thousand.out, *files)
    told = {line for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")}
    before = len(thousand.sent())
    assert thousand.run().returncode == 0
    assert_whole(thousand)
    assert not told & {f"{name}\n" for name in thousand.sent()[before:]}
    assert len(thousand.sent()) <= 1000 + 16

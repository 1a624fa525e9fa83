"""A process is killed while it works on a batch: the next one ends with one batch, all rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oumi_core.types import Conversation, Message, Role

if TYPE_CHECKING:
    from conftest import Bench

PROGRAM = """
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
rows = [Conversation([Message(Role.USER, f"row {at}")]) for at in range(ROWS)]
arguments = {"folder": "server", "max_requests": 40}
with oumi.get_engine("shelf", model="demo", engine_args=arguments) as engine:
    known = [info for info in engine.list_batches().batches if info.part_handles]
    batch_id = known[0].id if FETCH and known else engine.infer_batch(rows)
    results = engine.get_batch_results(batch_id, rows[::-1])
    assert [row[1].text for row in results] == [f"re: {row[0].text}" for row in rows[::-1]]
    print(batch_id, len(engine.list_batches().batches), len(results))
"""


def program(rows: int = 100, *, fetch: bool = False) -> str:
    return PROGRAM.replace("ROWS", str(rows)).replace("FETCH", str(fetch))


@pytest.mark.parametrize(
    ("step", "fetch"),
    [
        ("before upload", False),
        ("after upload", False),
        ("after submit", False),
        ("in the download", True),
    ],
)
def test_running_again_after_a_kill_ends_with_one_batch(
    bench: Bench, step: str, fetch: bool
) -> None:
    died = bench.python(program(), SHELF_DIE_AT=step)
    assert died.returncode == -signal.SIGKILL, died.stderr
    done = bench.python(program(fetch=fetch))
    assert done.stdout.split()[1:] == ["1", "100"], done.stderr
    assert len(bench.batches()) == 3


def test_who_died_with_all_sent_and_no_id_gets_that_by_the_same_call(bench: Bench) -> None:
    submit = """
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
arguments = {"batching": "shelf", "engine_args": {"folder": "server"}}
with oumi.get_engine("shelf", model="demo", **arguments) as engine:
    print(engine.infer_batch([Conversation([Message(Role.USER, "a")])]))
"""
    died = bench.python(submit, SHELF_DIE_AT="before the id is given")
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, "")
    sent = list((bench.folder / "state" / "shelf" / "batches").iterdir())
    assert len(sent) == 1
    done = bench.python(submit)
    assert done.stdout.startswith("batch-"), done.stderr
    assert list((bench.folder / "state" / "shelf" / "batches").iterdir()) == sent


ON_ID = """
import os, signal
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role

def keep(batch_id):
    print(batch_id, flush=True)
    if "DIE" in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)
    if "FAIL" in os.environ:
        raise OSError("the disk is full")

with oumi.get_engine("shelf", model="demo", engine_args={"folder": "server"}) as engine:
    engine.infer_batch([Conversation([Message(Role.USER, "a")])], on_id=keep)
"""


@pytest.mark.parametrize("how", ["DIE", "FAIL"])
def test_an_id_that_was_not_surely_kept_comes_again_and_one_that_was_does_not(
    bench: Bench, how: str
) -> None:
    died = bench.python(ON_ID, **{how: "1"})
    assert died.returncode == (-signal.SIGKILL if how == "DIE" else 1)
    again, other = bench.python(ON_ID), bench.python(ON_ID)
    assert again.stdout == died.stdout
    assert other.stdout.startswith("batch-")
    assert other.stdout != died.stdout
    assert len(bench.batches()) == 2


def test_the_command_has_printed_the_id_before_the_batch_counts_as_known(bench: Bench) -> None:
    config = bench.folder / "config.yaml"
    config.write_text("engine: shelf\nmodel: {model_name: demo}\nengine_args: {folder: server}\n")
    (bench.folder / "in.jsonl").write_text('{"prompt": "a"}\n')
    submit = [f"{sysconfig.get_path('scripts')}/oumi", "batch", "submit"]
    submit += ["-c", "config.yaml", "--input_path", "in.jsonl"]
    with Path("/dev/full").open("wb") as full:
        failed = subprocess.run(
            submit,
            env=bench.environ,
            cwd=bench.folder,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert failed.returncode != 0
    known = bench.batches()
    assert len(known) == 1
    done = subprocess.run(
        submit, env=bench.environ, cwd=bench.folder, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("batch-")
    assert bench.batches() == known


def test_the_same_call_makes_another_batch_once_it_has_given_an_id(bench: Bench) -> None:
    for _ in range(2):
        assert bench.python(LATE).returncode == 0
    assert len(bench.batches()) == 2


EARLIER = """
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
with oumi.get_engine("shelf", model="demo", engine_args={"folder": "server"}) as engine:
    for at in range(4):
        engine.infer_batch([Conversation([Message(Role.USER, f"earlier {at}")])])
"""
"""Submits four batches of one row, which tests make older."""

LATE = EARLIER.replace("range(4)", "range(4, 5)")


def submit_earlier_ones(bench: Bench) -> None:
    bench.python(EARLIER)
    for days, path in enumerate(bench.batches(), 2):
        bench.change(path, created=time.time() - days * 86_400)


@pytest.mark.parametrize("oldest_first", [False, True])
@pytest.mark.parametrize("hours", [0.0, 12.0], ids=["clocks agree", "clocks differ"])
def test_a_lost_part_is_found_in_a_list_of_either_order_and_by_any_clock(
    bench: Bench, hours: float, *, oldest_first: bool
) -> None:
    submit_earlier_ones(bench)
    (bench.server / "clock").write_text(f"{-3600 * hours}")
    if oldest_first:
        (bench.server / "oldest-first").touch()
    bench.python(LATE, SHELF_DIE_AT="after submit")
    assert len(bench.batches()) == 5
    bench.python(LATE)
    assert len(bench.batches()) == 5
    assert bench.calls("listed") == (5 if oldest_first else 1)


@pytest.mark.parametrize("how", ["by the next process", "by this one"])
def test_the_search_for_a_part_that_is_not_there_ends_at_what_is_too_old(
    bench: Bench, how: str
) -> None:
    submit_earlier_ones(bench)
    bench.change(bench.batches()[0], created=time.time())
    if how == "by this one":
        (bench.server / "fail-submit").write_text("transient")
    else:
        bench.python(LATE, SHELF_DIE_AT="before upload")
    bench.python(LATE)
    assert len(bench.batches()) == 5
    assert bench.calls("listed") == 2  # the newest, and one that is too old


def test_a_later_process_sends_what_is_left_on_the_id_alone(bench: Bench) -> None:
    bench.python(program(), SHELF_DIE_AT="after submit")
    assert len(bench.batches()) == 1
    done = bench.python("""
import oumi_core as oumi
with oumi.get_engine("shelf", model="demo") as engine:
    (info,) = engine.list_batches().batches
    print(info.status, len(info.part_handles), len(engine.get_batch_status(info.id).part_handles))
    print(engine.wait_batch(info.id).outcomes)
""")
    assert done.stdout.splitlines() == ["validating 0 1", "{'ok': 100}"], done.stderr
    assert len(bench.batches()) == 3


@pytest.mark.slow
def test_a_kill_at_any_moment_of_the_fetch_loses_and_repeats_nothing(bench: Bench) -> None:
    submitted = bench.python("""
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
rows = (Conversation([Message(Role.USER, f"row {at}")]) for at in range(3000))
with oumi.get_engine("shelf", model="demo", engine_args={"folder": "server"}) as engine:
    print(engine.infer_batch(rows))
""")
    batch_id = submitted.stdout.strip()
    fetch = f"""
import oumi_core as oumi
with oumi.get_engine("shelf", model="demo") as engine:
    print("begun", flush=True)
    rows = engine.get_batch_results("{batch_id}")
    assert [row[1].text for row in rows] == [f"re: row {{at}}" for at in range(3000)]
    print(len(rows), engine.get_batch_status("{batch_id}").outcomes)
"""
    for moment in (0.0, 0.03, 0.06, 0.1, 0.15):
        process = subprocess.Popen(
            [sys.executable, "-c", fetch],
            env=bench.environ,
            cwd=bench.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    done = bench.python(fetch)
    assert done.stdout.splitlines()[1:] == ["3000 {'ok': 3000}"], done.stderr


def test_what_a_dead_process_was_building_is_swept_away(bench: Bench) -> None:
    building = bench.folder / "state" / "batches" / ".building-batch-1"
    building.mkdir(parents=True)
    os.utime(building, (1, 1))
    with bench.engine() as engine:
        assert engine.list_batches().batches == ()
        engine.infer_batch([Conversation([Message(Role.USER, "a")])])
    assert not building.exists()


def test_a_full_disk_is_not_taken_for_a_damaged_manifest(bench: Bench) -> None:
    bench.python(EARLIER)
    looked = bench.python("""
import resource
import oumi_core as oumi
from oumi_core.errors import RunStopped
with oumi.get_engine("shelf", model="demo") as engine:
    batch_id = engine.list_batches().batches[0].id
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        engine.get_batch_status(batch_id)
    except RunStopped as stopped:
        print(stopped)
""")
    assert "refused: disk I/O error" in looked.stdout, looked.stderr
    assert "mend the disk" in looked.stdout

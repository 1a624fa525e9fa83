"""A disk that refuses stops a run, which then goes on where it was."""

from __future__ import annotations

import resource
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = "pwrite64:error=ENOSPC"
BROKEN = "pwrite64,fdatasync,fsync:error=EIO"


def journal_files(thousand: Any) -> list[Path]:
    return [thousand.out.with_name(f"out.jsonl.oumi.db{end}") for end in ("", "-wal", "-journal")]


def sent_after_the_fault(thousand: Any) -> int:
    """How many requests were sent after the first call that failed."""
    lines = thousand.trace.read_text().splitlines()
    first = next(at for at, line in enumerate(lines) if "(INJECTED)" in line)
    return sum("/log>" in line for line in lines[first:])


def assert_stopped_by_the_disk(thousand: Any, done: Any) -> set[str]:
    """The rows that it reported."""
    assert done.returncode == 3
    assert done.stderr.startswith(f"the disk of {thousand.out}.oumi.db refused: ")
    assert "run the same again" in done.stderr
    assert len(thousand.sent()) < 1000
    assert not thousand.out.exists()
    return set(done.stdout.split())


def assert_goes_on(thousand: Any, reported: set[str]) -> None:
    """Nothing that was reported is sent again, and the output is whole."""
    before = len(thousand.sent())
    assert thousand.run().returncode == 0
    assert not set(thousand.sent()[before:]) & reported
    assert len(thousand.out.read_text().splitlines()) == 1000


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(
    ("fault", "workers"),
    [
        (f"{FULL}:when=60+", 1),
        (f"{FULL}:when=60+", 16),
        (f"{BROKEN}:when=61+", 16),
        (f"{BROKEN}:when=62", 16),
    ],
)
def test_after_an_error_of_the_disk_nothing_is_sent_and_nothing_reported_is_missing(
    thousand: Any, fault: str, workers: int
) -> None:
    done = thousand.injected(fault, *journal_files(thousand), workers=workers)
    reported = assert_stopped_by_the_disk(thousand, done)
    assert reported
    # A worker whose answer could not be kept sends nothing; the others are then at a request
    # each, and one of those may have begun while the disk had failed and nobody knew it yet.
    assert sent_after_the_fault(thousand) < workers
    assert_goes_on(thousand, reported)


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize(
    "fault",
    [
        "pwrite64:error=ENOSPC:when=1+",
        "fdatasync:error=EIO:when=1",  # of this one SQLite says nothing
        *(
            pytest.param(f"{call}:when={number}{plus}", marks=pytest.mark.slow)
            for call in ("pwrite64:error=ENOSPC", "fdatasync:error=EIO")
            for number in range(2, 6)
            for plus in ("", "+")
        ),
    ],
)
def test_a_disk_that_takes_no_journal_at_all_is_named_before_anything_is_sent(
    thousand: Any, fault: str
) -> None:
    done = thousand.injected(fault, *journal_files(thousand))
    assert assert_stopped_by_the_disk(thousand, done) == set()
    assert thousand.sent() == []
    assert_goes_on(thousand, set())


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("when", ["1+", "3+", pytest.param("10+", marks=pytest.mark.slow)])
def test_a_journal_that_cannot_be_read_is_not_taken_for_something_else(
    thousand: Any, when: str
) -> None:
    files = journal_files(thousand)
    reported = set(thousand.injected(f"{FULL}:when=60+", *files).stdout.split())
    before = thousand.sent()
    done = thousand.injected(f"pread64:error=EIO:when={when}", *files)
    assert done.returncode == 3
    assert done.stdout == ""
    assert f"{thousand.out}.oumi.db" in done.stderr
    assert "disk" in done.stderr
    assert "run the same again" in done.stderr
    assert thousand.sent() == before
    assert_goes_on(thousand, reported)


@pytest.mark.usefixtures("strace")
def test_a_disk_that_refuses_the_output_keeps_all_answers(thousand: Any) -> None:
    written = thousand.out.with_name("out.jsonl.tmp")
    done = thousand.injected("pwrite64,write:error=ENOSPC", written)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert not thousand.out.exists()
    assert not written.exists()
    before = thousand.sent()
    assert thousand.run().returncode == 0
    assert thousand.sent() == before
    assert len(thousand.out.read_text().splitlines()) == 1000


def test_a_file_that_may_not_grow_stops_the_run(thousand: Any) -> None:
    def limit() -> None:  # Python ignores the signal that comes with it
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        thousand.command(),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    reported = assert_stopped_by_the_disk(thousand, done)
    assert reported
    assert_goes_on(thousand, reported)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB, for twenty files."""
    place = tmp_path / "small"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=300k,nr_inodes=20", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mounting, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip("only root may mount a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_stops_the_run_and_room_on_it_lets_it_go_on(
    thousand: Any, small_disk: Path
) -> None:
    thousand = type(thousand)(small_disk)
    done = thousand.run()
    reported = assert_stopped_by_the_disk(thousand, done)
    assert reported
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert_goes_on(thousand, reported)


def test_a_disk_without_room_for_another_file_is_named_too(thousand: Any, small_disk: Path) -> None:
    def fill() -> None:
        for number in range(20):
            (small_disk / str(number)).touch()

    with pytest.raises(OSError, match="No space left on device"):
        fill()
    thousand = type(thousand)(small_disk, log_folder=thousand.folder)
    done = thousand.run()
    assert assert_stopped_by_the_disk(thousand, done) == set()
    assert "No space left on device" in done.stderr

"""What is in a journal is counted, and the journal stays as it is."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, ClassVar

import pytest

from oumi_core import get_engine
from oumi_core.engine import Engine, Request
from oumi_core.errors import ConfigError, EngineError
from oumi_core.run.journal_view import view_journal
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message, Usage

if TYPE_CHECKING:
    from pathlib import Path


class Failing(Engine):
    """Fails for a text that is a kind of failure, and answers others."""

    mended: ClassVar[set[str]] = set()

    async def complete(self, request: Request) -> Completion:
        text = request.conversation[0].text
        if text in set(FailureKind) - self.mended:
            raise EngineError(Failure(FailureKind(text), "as told"))
        return Completion(Message("assistant", text), usage=Usage(3, 2))


def run(output: Path, *texts: str) -> None:
    rows = [Conversation([Message("user", text)]) for text in texts]
    with get_engine(Failing, model="m", max_retries=1, retry_backoff_base=0.01) as engine:
        list(engine.run(rows, output_path=output))


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and content."""
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.iterdir()}


def test_results_are_counted_by_how_they_ended(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(out, "a", "b", "timeout", "bad_request", "refusal", "bad_request")
    before = files(tmp_path)
    view = view_journal(str(out))
    assert files(tmp_path) == before
    assert (view.path, view.runs, view.earlier.rows) == (f"{out}.oumi.db", 1, 0)
    counts = view.last_run
    assert (counts.rows, counts.succeeded, counts.retryable) == (6, 2, 1)
    assert counts.failed == {"bad_request": 2, "timeout": 1, "refusal": 1}
    assert (counts.prompt_tokens, counts.completion_tokens) == (6, 4)
    assert counts.attempts == 7
    assert counts.median_latency is not None
    assert view.first_started == view.last_started
    assert view.last_started is not None
    assert view.last_written >= view.last_started


def test_the_last_run_counts_what_it_took_and_the_rest_is_earlier(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(out, "a", "b", "c")
    run(out, "b", "d")
    view = view_journal(f"{out}.oumi.db")
    assert (view.runs, view.last_run.rows, view.earlier.rows) == (2, 2, 2)
    assert view.earlier.prompt_tokens == 6


def test_a_view_is_plain_data_on_request(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(out, "a", "timeout")
    fields = view_journal(str(out)).to_dict()
    assert fields["last_run"]["failed"] == {"timeout": 1}
    assert fields["last_started"].endswith("+00:00")
    assert fields["earlier"]["median_latency"] is None


def test_a_journal_that_a_run_is_writing_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    rows = (Conversation([Message("user", str(number))]) for number in range(5000))
    with get_engine(Failing, model="m") as engine:
        with engine.run(rows, output_path=out) as going:
            next(iter(going))
            with pytest.raises(ConfigError, match="a run is writing it; look again when"):
                view_journal(str(out))
        assert view_journal(str(out)).last_run.rows > 0


KILLED = """
import os, signal, sys
from oumi_core import get_engine
from oumi_core.types import Conversation, Message

rows = (Conversation([Message("user", str(number))]) for number in range(5000))
with get_engine("echo", model="m") as engine:
    for number, result in enumerate(engine.run(rows, output_path=sys.argv[1])):
        if number == 999:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_run(out: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_run_left_is_all_there_and_stays_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    kill_a_run(out)
    before = files(tmp_path)
    assert before["out.jsonl.oumi.db-wal"][1]
    view = view_journal(str(out))
    assert view.last_run.rows >= 1000
    assert view.last_run.succeeded == view.last_run.rows
    after = files(tmp_path)
    after.pop("out.jsonl.oumi.db-shm")  # an index of the log, which every reader makes
    assert after == before
    with get_engine("echo", model="m") as engine:
        rows = [Conversation([Message("user", str(number))]) for number in range(1000)]
        assert all(result.reused for result in engine.run(rows, output_path=out))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    out = folder / "out.jsonl"
    run(out, "a")
    folder.chmod(0o555)
    assert view_journal(str(out)).last_run.rows == 1
    folder.chmod(0o755)
    kill_a_run(out)
    folder.chmod(0o555)
    with pytest.raises(ConfigError, match="needs leave to write in its folder"):
        view_journal(str(out))
    folder.chmod(0o755)


def test_a_path_may_hold_anything(tmp_path: Path) -> None:
    out = tmp_path / "50% off?mode=rw#x" / "out.jsonl"
    run(out, "a")
    assert view_journal(str(out)).last_run.rows == 1


def test_where_there_is_no_journal_the_nearest_is_named(tmp_path: Path) -> None:
    run(tmp_path / "answers.jsonl", "a")
    with pytest.raises(ConfigError, match=r"no such journal; did you mean .*/answers\.jsonl\?"):
        view_journal(str(tmp_path / "anwsers.jsonl"))
    with pytest.raises(ConfigError, match="give the output_path of a run"):
        view_journal(str(tmp_path / "nowhere" / "x"))


def test_what_is_no_journal_is_said_to_be_none(tmp_path: Path) -> None:
    journal = tmp_path / "out.jsonl.oumi.db"
    journal.touch()
    with pytest.raises(ConfigError, match="killed before it began"):
        view_journal(str(tmp_path / "out.jsonl"))
    with sqlite3.connect(journal) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    with pytest.raises(ConfigError, match="not a journal of this version"):
        view_journal(str(tmp_path / "out.jsonl"))
    journal.write_bytes(b"no database at all, but long enough" * 99)
    with pytest.raises(ConfigError, match="not a journal, or damaged"):
        view_journal(str(tmp_path / "out.jsonl"))


OTHER_TEXT = b'{"attempts":1,"latency":1.0,"failure":{"kind":"\xff","retryable":true}}'


@pytest.mark.parametrize("record", [b"{oops", OTHER_TEXT, b"[1]"], ids=["cut", "latin", "list"])
def test_a_damaged_record_is_said_to_be_damaged(tmp_path: Path, record: bytes) -> None:
    out = tmp_path / "out.jsonl"
    run(out, "a", "b")
    with sqlite3.connect(f"{out}.oumi.db") as database:
        database.execute("UPDATE result SET record = ? WHERE id = 1", (record,))
    database.close()
    with pytest.raises(ConfigError, match="not a journal, or damaged"):
        view_journal(str(out))


def test_a_damaged_journal_is_said_to_be_damaged(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run(out, *(f"{number} " + "x" * 500 for number in range(100)))
    journal = tmp_path / "out.jsonl.oumi.db"
    content = journal.read_bytes()
    journal.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match="damaged"):
        view_journal(str(out))

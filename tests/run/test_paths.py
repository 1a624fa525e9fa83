"""The files of a run: what is there is never destroyed, and they stay where they were asked for."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from oumi_core import get_engine
from oumi_core.configs import InferenceConfig
from oumi_core.engine import Engine, Request
from oumi_core.errors import ConfigError, DataError, EngineError
from oumi_core.types import Completion, Conversation, Failure, FailureKind, Message

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.types import Result

ROWS = '{"prompt": "one"}\n{"prompt": "two"}\n'


def rows(count: int = 1) -> list[Conversation]:
    return [Conversation([Message("user", str(n))]) for n in range(count)]


def answered(source: Any, output: Any = None, progress: Any = None) -> list[Result]:
    """The results of a run of the engine `echo`."""
    config = InferenceConfig(progress_path=None if progress is None else str(progress))
    with get_engine("echo", config, model="m") as engine:
        return list(engine.run(source, output_path=output))


def questions(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [json.loads(line)["messages"][0]["content"] for line in lines]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# What is there.


@pytest.mark.parametrize("field", ["output_path", "progress_path"])
def test_a_device_is_refused(field: str) -> None:
    controlling, terminal = os.openpty()
    device = os.ttyname(terminal)
    paths = (device, None) if field == "output_path" else (None, device)
    with pytest.raises(ConfigError, match=f"{field}: {device} is a device"):
        answered(rows(), *paths)
    os.close(controlling)
    os.close(terminal)


@pytest.mark.parametrize("field", ["output_path", "progress_path"])
@pytest.mark.parametrize("linked", [False, True], ids=["itself", "through-a-link"])
def test_a_pipe_is_refused_and_stays_one(tmp_path: Path, field: str, *, linked: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    path = tmp_path / ("link" if linked else "pipe")
    paths = (path, None) if field == "output_path" else (None, path)
    with pytest.raises(ConfigError, match=f"{field}: .* is a pipe"):
        answered(rows(), *paths)
    assert names(tmp_path) == {"pipe", "link"}
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed_and_everything_lies_beside_what_it_leads_to(
    tmp_path: Path, *, exists: bool
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "out.jsonl").symlink_to("../there/real.jsonl")
    (here / "now.json").symlink_to("../there/progress.json")
    if exists:
        (there / "real.jsonl").write_text("earlier\n")
        (there / "progress.json").write_text("earlier\n")
    answered(rows(2), here / "out.jsonl", here / "now.json")
    assert names(here) == {"out.jsonl", "now.json"}
    assert names(there) == {"real.jsonl", "real.jsonl.oumi.db", "progress.json"}
    assert (here / "out.jsonl").is_symlink()
    assert questions(here / "out.jsonl") == ["0", "1"]
    assert json.loads((here / "now.json").read_text())["completed"] == 2


def test_a_link_and_the_file_it_leads_to_have_one_journal(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("out.jsonl")
    answered(rows(), tmp_path / "link")
    (result,) = answered(rows(), tmp_path / "out.jsonl")
    assert result.reused


@pytest.mark.parametrize(
    "name", ["out.jsonl.tmp", "out.jsonl.failed.jsonl", "out.jsonl.failed.jsonl.tmp"]
)
def test_what_lies_in_the_way_of_a_file_beside_the_output_is_not_written_through(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "mine").write_text("precious\n")
    (tmp_path / name).symlink_to("mine")
    with pytest.raises(ConfigError, match=f"output_path: .*{name} is a symbolic link"):
        answered(rows(), tmp_path / "out.jsonl")
    assert (tmp_path / "mine").read_text() == "precious\n"


def test_links_in_a_circle_are_no_place_for_an_output(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigError, match="output_path: cannot write "):
        answered(rows(), tmp_path / "a")


REDIRECTED = """
import sys
from oumi_core import get_engine
from oumi_core.errors import ConfigError
from oumi_core.types import Conversation, Message

with get_engine("echo", model="m") as engine:
    try:
        list(engine.run([Conversation([Message("user", "x")])], output_path=sys.argv[1]))
    except ConfigError as error:
        sys.exit(0 if sys.argv[2] in str(error) else "another error")
sys.exit("no error")
"""


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize("as_device", [False, True], ids=["by-name", "as-device"])
def test_a_file_that_a_standard_stream_is_redirected_to_is_not_replaced(
    tmp_path: Path, stream: str, *, as_device: bool
) -> None:
    path = tmp_path / "file.jsonl"
    path.write_text(ROWS)
    output = f"/dev/{stream}" if as_device else str(path)
    with path.open("r+b") as file:
        expected = f"output_path: {output} is this program's {stream}"
        command = [sys.executable, "-c", REDIRECTED, output, expected]
        streams: dict[str, Any] = {stream: file}
        code = subprocess.run(command, check=False, **streams).returncode
    assert code == 0
    assert path.read_text() == ROWS
    assert names(tmp_path) == {"file.jsonl"}


# No file has two parts in one run.


class Strict(Engine):
    """Refuses the row `1`."""

    async def complete(self, request: Request) -> Completion:
        if request.conversation[0].text == "1":
            raise EngineError(Failure(FailureKind.BAD_REQUEST, "as told"))
        return Completion(Message("assistant", "fine"))


def test_the_failed_rows_of_an_output_are_no_input_for_it(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    failed = tmp_path / "out.jsonl.failed.jsonl"
    with get_engine(Strict, model="m") as engine:
        list(engine.run(rows(4), output_path=output))
        before = output.read_text(), failed.read_text()
        with pytest.raises(ConfigError) as caught:
            engine.run(failed, output_path=output, retry_failed=True)
    said = str(caught.value)
    assert "its file of failed rows, is the input; to try the failed rows again, give" in said
    assert (output.read_text(), failed.read_text()) == before


PARTS = [
    "out.jsonl",
    "out.jsonl.tmp",
    "out.jsonl.failed.jsonl",
    "out.jsonl.failed.jsonl.tmp",
    "out.jsonl.oumi.db",
    "out.jsonl.oumi.db-wal",
]


@pytest.mark.parametrize("name", PARTS)
def test_what_belongs_to_the_output_is_not_the_input(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_text(ROWS)
    with pytest.raises(ConfigError, match=r"output_path: .*is the input; "):
        answered(source, tmp_path / "out.jsonl")
    assert source.read_text() == ROWS


@pytest.mark.parametrize("name", PARTS)
def test_what_belongs_to_the_output_is_not_the_progress_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"progress_path: .* is the output"):
        answered(rows(), tmp_path / "out.jsonl", tmp_path / name)
    assert not names(tmp_path)


@pytest.mark.parametrize("progress", ["in.jsonl", "link", "./folder/../in.jsonl", "hard"])
@pytest.mark.parametrize("output", ["out.jsonl", None])
def test_the_progress_file_is_not_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, progress: str, output: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in.jsonl"
    source.write_text(ROWS)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    with pytest.raises(ConfigError, match=f"progress_path: {progress} is the input; "):
        answered(str(source), output, progress)
    assert source.read_text() == ROWS


def test_the_input_is_not_written_to_on_the_way_to_the_progress_file(tmp_path: Path) -> None:
    source = tmp_path / "now.json.tmp"
    source.write_text(ROWS)
    with pytest.raises(ConfigError, match=r"progress_path: .*its temporary file, is the input"):
        answered(source, progress=tmp_path / "now.json")


def test_neighbours_with_names_of_their_own_get_along(tmp_path: Path) -> None:
    source = tmp_path / "out.jsonl.in"
    source.write_text(ROWS)
    assert len(answered(source, tmp_path / "out.jsonl", tmp_path / "out.jsonl.progress")) == 2


# Where they are.


def test_a_change_of_the_working_directory_moves_no_file_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "in.jsonl").write_text(ROWS)
    monkeypatch.chdir(here)
    config = InferenceConfig(progress_path="now.json")
    with get_engine("echo", config, model="m") as engine:
        early = engine.run("in.jsonl", output_path="early.jsonl")
        late = engine.run("in.jsonl", output_path="late.jsonl")
        next(iter(early))
        monkeypatch.chdir(there)
        list(early)
        list(late)
    assert not names(there)
    for name in ("early.jsonl", "late.jsonl"):
        assert questions(here / name) == ["one", "two"]
    assert names(here) == {
        *("in.jsonl", "now.json", "early.jsonl", "late.jsonl"),
        *("early.jsonl.oumi.db", "late.jsonl.oumi.db"),
    }


def test_faults_name_the_input_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.jsonl").write_text("{oops\n")
    monkeypatch.chdir(tmp_path)
    with get_engine("echo", model="m") as engine:
        with pytest.raises(DataError, match=r"^in\.jsonl:1: "):
            list(engine.run("in.jsonl"))
        run = engine.run("in.jsonl")
        monkeypatch.chdir("/")
        with pytest.raises(DataError, match=rf"^{tmp_path}/in\.jsonl:1: "):
            list(run)


# An input that can be read only once.


def fed(path: Path | int, text: str) -> threading.Thread:
    """Writes into a pipe, from its first reader on."""

    def write() -> None:
        with open(path, "w") as file:  # noqa: PTH123 - it may be a descriptor
            file.write(text)

    thread = threading.Thread(target=write)
    thread.start()
    return thread


@pytest.mark.parametrize("output", ["out.jsonl", None])
def test_rows_of_a_named_pipe_are_answered(tmp_path: Path, output: str | None) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = fed(pipe, ROWS)
    results = answered(pipe, output and tmp_path / output)
    writer.join()
    assert sorted(result.text for result in results) == ["one", "two"]


def test_rows_of_a_process_substitution_are_answered() -> None:
    reading, writing = os.pipe()
    writer = fed(writing, ROWS)
    results = answered(f"/dev/fd/{reading}")
    writer.join()
    os.close(reading)
    assert sorted(result.text for result in results) == ["one", "two"]


def test_a_fault_in_a_pipe_stops_the_run_after_the_rows_before_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = fed(pipe, ROWS + "{oops\n")
    seen: list[str | None] = []
    with get_engine("echo", model="m") as engine:
        run = engine.run(pipe)
        with pytest.raises(DataError, match="pipe:3: "):
            seen.extend(result.text for result in run)
    writer.join()
    assert set(seen) == {"one", "two"}

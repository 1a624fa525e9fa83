"""`--input_path -`: conversations from a pipe, as they come."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest

PIPED = ("infer", "-c", "stage.yaml", "--input_path", "-")


def row(text: str) -> str:
    return json.dumps({"prompt": text}) + "\n"


def reply(line: str) -> str:
    text: str = json.loads(line)["messages"][-1]["content"]
    return text


def test_rows_of_a_pipe_are_answered_and_written(here: Any) -> None:
    done = here.oumi(*PIPED, "--output_path", "out.jsonl", stdin=row("one") + "\n" + row("two"))
    assert (done.code, done.out) == (0, "")
    assert "2 rows: 2 ok" in done.err
    lines = (here.folder / "out.jsonl").read_text().splitlines()
    assert [reply(line) for line in lines] == ["one", "two"]


def test_a_file_can_be_redirected_and_the_config_may_name_the_input(here: Any) -> None:
    here.cues("one")
    here.write("c.yaml", "engine: echo\nmodel: {model_name: a}\ninput_path: '-'\n")
    done = here.shell("oumi infer -c c.yaml < in.jsonl")
    assert (done.code, done.out) == (0, "user: one\nassistant: one\n\n")


def test_each_row_is_answered_before_the_next_is_there(here: Any) -> None:
    with here.started(*PIPED, "--json", stdin=subprocess.PIPE) as process:
        for text in ("first", "second", "third"):
            process.stdin.write(row(text))
            process.stdin.flush()
            assert reply(process.stdout.readline()) == text
        process.stdin.close()
        assert process.wait(60) == 0


def test_a_fault_stops_the_run_after_all_rows_before_it(here: Any) -> None:
    asked = (*PIPED, "--output_path", "out.jsonl", "--num_workers", "1")
    done = here.oumi(*asked, stdin=row("one") + row("two") + '{"mesages": []}\n' + row("four"))
    assert done.code == 2
    assert "error: standard input:3: 'mesages': unknown shape of a row" in done.err
    assert "2 rows: 2 ok" in done.err
    assert "what was answered is kept; the same command goes on from here" in done.err
    assert not (here.folder / "out.jsonl").exists()
    mended = here.oumi(*asked, "--progress=json", stdin=row("one") + row("two") + row("three"))
    assert mended.code == 0
    assert json.loads(mended.err.splitlines()[-1])["reused"] == 2


@pytest.mark.parametrize("nothing", ["", "\n\n"])
def test_nothing_to_read_is_an_error(here: Any, nothing: str) -> None:
    done = here.oumi(*PIPED, stdin=nothing)
    assert done.code == 2
    assert done.err.endswith("error: standard input: no rows; it needs one JSON object a line\n")


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
@pytest.mark.parametrize("output", [(), ("--output_path", "out.jsonl")], ids=["printed", "written"])
def test_a_signal_ends_the_wait_for_a_pipe_that_stays_open(
    here: Any, sent: signal.Signals, code: int, output: tuple[str, ...]
) -> None:
    begun, gate = here.folder / "begun", here.folder / "gate"
    with here.started(*PIPED, *output, stdin=subprocess.PIPE) as process:
        process.stdin.write(row("one") + row(f"meet {begun} {gate}"))
        process.stdin.flush()
        here.wait_for(begun, process)
        process.send_signal(sent)
        said = process.stderr.readline() + process.stderr.readline()
        assert "stopping: what is in flight is finished and kept" in said
        gate.touch()
        assert process.wait(60) == code
        assert "2 rows: 2 ok" in process.stderr.read()


def test_sigterm_drains_and_the_same_command_goes_on(here: Any) -> None:
    begun, gate = here.folder / "begun", here.folder / "gate"
    here.cues("first", f"meet {begun} {gate}", "third")
    file = ("infer", "-c", "stage.yaml", "--input_path", "in.jsonl", "--num_workers", "1")
    asked = (*file, "--output_path", "out.jsonl", "--json")
    with here.started(*asked) as process:
        here.wait_for(begun, process)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.readline() + process.stderr.readline()
        assert "SIGTERM again cancels it" in said
        gate.touch()
        out, err = process.communicate()
    assert process.returncode == 143
    assert (json.loads(out)["rows"], json.loads(out)["exit_code"]) == (2, 143)
    assert err.endswith("the same command goes on from here\n")
    assert here.oumi(*asked).code == 0
    assert (here.folder / "out.jsonl").read_text().count("\n") == 3


def test_sigterm_twice_cancels_what_is_in_flight(here: Any) -> None:
    begun = here.folder / "begun"
    here.cues("first", f"meet {begun} {here.folder}/never")
    asked = ("infer", "-c", "stage.yaml", "--input_path", "in.jsonl", "--num_workers", "1")
    with here.started(*asked) as process:
        here.wait_for(begun, process)
        process.send_signal(signal.SIGTERM)
        while "SIGTERM again cancels" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert process.returncode == 143
    assert out == "user: first\nassistant: first\n\n"
    assert "what was in flight is cancelled" in err

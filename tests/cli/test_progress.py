"""`--progress` and `progress_path`: how far a run is, for people and for machines."""

from __future__ import annotations

import itertools
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGE = ("infer", "-c", "stage.yaml", "--input_path", "in.jsonl")


def events(err: str, kind: str) -> list[dict[str, Any]]:
    """The objects of one kind; every line of standard error must be one."""
    found = [json.loads(line) for line in err.splitlines()]
    assert all("event" in event for event in found)
    return [event for event in found if event["event"] == kind]


def progress_of(process: Any) -> Iterator[dict[str, Any]]:
    """The objects as they come."""
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "progress":
            yield event


def test_machines_get_nothing_but_objects_and_the_last_says_how_it_ended(here: Any) -> None:
    here.cues("one two", "fail refusal", "three")
    done = here.oumi(*STAGE, "--progress", "json", "--output_path", "out.jsonl", "-vv")
    assert (done.code, done.out) == (1, "")
    last = events(done.err, "progress")[-1]
    assert last["rows_per_second"] > 0
    for field in ("rows_per_second", "tokens_per_second", "elapsed", "eta_seconds"):
        del last[field]
    assert last == {
        "event": "progress",
        "state": "ended",
        "rows": 3,
        "total": 3,
        "ok": 2,
        "failed": {"refusal": 1},
        "reused": 0,
        "in_flight": 0,
    }
    assert events(done.err, "failed") == [{"event": "failed", "message": "row 2: refusal: on cue"}]
    assert events(done.err, "warning")[0]["message"] == "the stage is slippery"


def test_progress_comes_while_a_row_is_waited_for(here: Any) -> None:
    gate = here.folder / "gate"
    here.cues("one", "two", f"wait {gate}")
    with here.started(*STAGE, "--progress", "json", "--num_workers", "1") as process:
        seen = next(event for event in progress_of(process) if event["rows"] == 2)
        assert (seen["state"], seen["in_flight"], seen["total"]) == ("running", 1, 3)
        assert seen["eta_seconds"] > 0
        gate.touch()
        assert list(progress_of(process))[-1]["state"] == "ended"
    assert process.returncode == 0


@pytest.mark.slow
def test_progress_stays_live_over_many_rows(here: Any) -> None:
    rows = 200_000
    here.cues(*map(str, range(rows)))
    asked = ("infer", "--engine", "echo", "--model.model_name", "any", "--input_path", "in.jsonl")
    done = here.oumi(*asked, "--output_path", "out.jsonl", "--progress", "json")
    shown = [event for event in events(done.err, "progress") if event["state"] == "running"]
    assert done.code == 0
    assert len(shown) >= 4
    counts = [event["rows"] for event in shown]
    assert counts == sorted(counts)
    # It stands still only while the input is checked, and while the output is written at the end.
    answering = [count for count in counts if 0 < count < rows]
    assert len(answering) >= 2
    assert all(later > earlier for earlier, later in itertools.pairwise(answering))
    times = [0.0, *(event["elapsed"] for event in shown)]
    silences = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(silences) < times[-1] / 3


def test_rows_that_an_earlier_run_answered_are_counted_apart(here: Any) -> None:
    here.cues("one", "two")
    asked = (*STAGE, "--output_path", "out.jsonl")
    assert here.oumi(*asked).code == 0
    last = events(here.oumi(*asked, "--progress", "json").err, "progress")[-1]
    assert (last["ok"], last["reused"], last["rows_per_second"]) == (2, 2, 0)


def test_errors_are_objects_too(here: Any) -> None:
    here.cues("one")
    broken = here.oumi(*STAGE, "--progress=json", "--engine", "nosuch")
    assert broken.code == 2
    assert "there is no engine 'nosuch'" in events(broken.err, "error")[0]["message"]
    misused = here.oumi(*STAGE, "--prompt", "x", "--progress=json")
    assert "exclude each other" in events(misused.err, "error")[0]["message"]
    dead = here.oumi(*STAGE, "--progress=json", "--model.model_name", "dead", OUMI_DEBUG="1")
    assert events(dead.err, "error")[0]["message"] == "engine_dead: no such model"
    assert "Traceback" in events(dead.err, "traceback")[0]["message"]


def test_a_run_that_was_asked_to_stop_says_that_it_is_stopping(here: Any) -> None:
    begun, gate = here.folder / "begun", here.folder / "gate"
    here.cues(f"meet {begun} {gate}", "never asked")
    with here.started(*STAGE, "--progress", "json", "--num_workers", "1") as process:
        states = (event["state"] for event in progress_of(process))
        assert next(states) == "running"
        process.send_signal(signal.SIGTERM)
        while next(states) != "stopping":
            pass
        gate.touch()
        assert list(states)[-1] == "ended"
    assert process.returncode == 143


def test_none_shows_no_bar_on_a_terminal(here: Any) -> None:
    here.cues("one")
    with here.on_terminal(*STAGE, "--output_path", "out.jsonl", "--progress", "none") as screen:
        assert screen.end() == 0
        assert "1 row: 1 ok" in screen.text
        assert "━" not in screen.raw
        assert "starting" not in screen.text


def test_progress_that_cannot_be_shown_is_refused(here: Any) -> None:
    here.cues("one")
    done = here.oumi(*STAGE, "--progress", "bar")
    assert done.code == 2
    assert "error: --progress bar needs a terminal on standard error; " in done.err
    done = here.oumi("infer", "-c", "stage.yaml", "--prompt", "x", "--progress", "none")
    assert done.code == 2
    assert "--progress needs --input_path" in done.err


def test_the_file_of_the_config_is_written(here: Any) -> None:
    here.cues("one", "fail refusal")
    assert here.oumi(*STAGE, "--progress_path", "now.json").code == 1
    fields = json.loads((here.folder / "now.json").read_text())
    assert (fields["total"], fields["completed"], fields["failed"]) == (2, 1, 1)
    done = here.oumi(*STAGE, "--progress_path", "in.jsonl/now.json")
    assert done.code == 2
    assert "error: progress_path: cannot write in.jsonl/now.json: " in done.err


def test_answers_behind_a_slow_row_are_held_up_not_heaped_up(here: Any) -> None:
    gate, rows = here.folder / "gate", 20_000
    here.cues(f"wait {gate}", *["next"] * rows)
    out = (here.folder / "out").open("w")
    with out, here.started(*STAGE, "--progress", "json", "--json", stdout=out) as process:
        held = next(event for event in progress_of(process) if event["in_flight"] == 1)
        assert 1000 <= held["rows"] < 5000
        gate.touch()
        assert list(progress_of(process))[-1]["ok"] == rows + 1
    assert process.returncode == 0
    assert (here.folder / "out").read_text().count("\n") == rows + 1

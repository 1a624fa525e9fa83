"""`oumi runs show`: what is in a journal."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

RUN = ("infer", "-c", "stage.yaml", "--input_path", "in.jsonl", "--output_path", "out.jsonl")


def test_a_journal_is_shown_in_a_few_lines(here: Any) -> None:
    here.cues("a", "b c")
    assert here.oumi(*RUN, "--engine", "echo").code == 0
    here.cues("fail bad_request", "fail timeout", "d")
    assert here.oumi(*RUN, "--remote_params.max_retries", "0").code == 1
    done = here.oumi("runs", "show", "out.jsonl")
    assert (done.code, done.err) == (0, "")
    name, runs, last, last_more, earlier, earlier_more = done.out.splitlines()
    assert name == "out.jsonl.oumi.db"
    assert re.fullmatch(r"  runs       2, from \d{4}-.* to \d{4}-.* UTC \(.*\)", runs)
    failed = "2 failed (1 bad_request, 1 timeout), 1 of which the next run tries again"
    assert last == f"  last run   3 rows: 1 ok, {failed}"
    assert last_more.strip().startswith("3 attempts; 0 tokens in, 0 out; median ")
    assert earlier == "  earlier    2 rows: 2 ok"
    assert earlier_more.strip().startswith("2 attempts; 3 tokens in, 3 out; median ")


def test_it_is_json_on_request(here: Any) -> None:
    here.cues("a")
    assert here.oumi(*RUN).code == 0
    view = json.loads(here.oumi("runs", "show", "out.jsonl", "--json").out)
    assert (view["runs"], view["last_run"]["succeeded"], view["earlier"]["rows"]) == (1, 1, 0)


def test_a_run_that_goes_on_cannot_be_read_and_one_that_was_killed_can(here: Any) -> None:
    begun = here.folder / "begun"
    here.cues("first", f"meet {begun} {here.folder}/never")
    with here.started(*RUN, "--num_workers", "1") as process:
        here.wait_for(begun, process)
        done = here.oumi("runs", "show", "out.jsonl")
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: out.jsonl.oumi.db: a run is writing it; look again ")
        process.send_signal(signal.SIGKILL)
    done = here.oumi("runs", "show", "out.jsonl")
    assert done.code == 0
    assert "\n  last run   1 row: 1 ok\n" in done.out


def test_what_is_no_journal_ends_with_2(here: Any) -> None:
    here.cues("a")
    assert here.oumi(*RUN).code == 0
    done = here.oumi("runs", "show", "ou.jsonl")
    assert done.code == 2
    assert done.err == "error: ou.jsonl.oumi.db: no such journal; did you mean out.jsonl?\n"
    here.write("x.oumi.db", "not one")
    assert here.oumi("runs", "show", "x").code == 2

"""`oumi infer` over a file of conversations."""

from __future__ import annotations

import json
import re
import shlex
import signal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

STAGE = ("infer", "-c", "stage.yaml", "--input_path", "in.jsonl")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def replies(rows: list[dict[str, Any]]) -> list[str]:
    return [row["messages"][-1]["content"] for row in rows]


def test_each_line_of_the_input_comes_back_in_order_with_its_reply(here: Any) -> None:
    here.cues(f"wait {here.folder}/gate", "second", f"make {here.folder}/gate")
    done = here.oumi(*STAGE, "--output_path", "out.jsonl")
    assert done.code == 0
    assert done.out == ""
    rows = lines(here.folder / "out.jsonl")
    assert replies(rows) == [f"wait {here.folder}/gate", "second", f"make {here.folder}/gate"]
    assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant"]
    assert done.err.splitlines()[-2].startswith("3 rows: 3 ok; ")
    assert done.err.splitlines()[-1] == "answers: out.jsonl"


def test_another_engine_is_an_option_and_nothing_else_changes(here: Any) -> None:
    here.cues("recall")
    done = here.oumi(*STAGE, "--engine", "ECHO", "--output-path", "out.jsonl")
    assert (done.code, replies(lines(here.folder / "out.jsonl"))) == (0, ["recall"])
    assert "1 row: 1 ok; 1 tokens in, 1 out; " in done.err


def test_without_an_output_the_conversations_are_printed_in_input_order(here: Any) -> None:
    here.write(
        "in.jsonl",
        f'{{"prompt": "wait {here.folder}/gate"}}\n'
        '{"messages": [{"role": "system", "content": "Sing."}, '
        '{"role": "user", "content": "La"}]}\n'
        f'{{"prompt": "make {here.folder}/gate"}}\n',
    )
    done = here.oumi(*STAGE)
    assert done.code == 0
    assert done.out.split("\n\n") == [
        f"user: wait {here.folder}/gate\nassistant: wait {here.folder}/gate",
        "system: Sing.\nuser: La\nassistant: La",
        f"user: make {here.folder}/gate\nassistant: make {here.folder}/gate",
        "",
    ]


def test_json_prints_every_row_a_failed_one_with_its_failure(here: Any) -> None:
    here.cues("one", "fail bad_request", "three")
    done = here.oumi(*STAGE, "--json")
    assert done.code == 1
    assert replies(done.rows) == ["one", "fail bad_request", "three"]
    assert [len(row["messages"]) for row in done.rows] == [2, 1, 2]
    failure = done.rows[1]["failure"]
    assert (failure["kind"], failure["message"], failure["index"]) == ("bad_request", "on cue", 1)


def test_the_first_failures_are_listed_and_a_file_has_them_all(here: Any) -> None:
    here.cues("good", *["fail refusal"] * 6, "crash secret words")
    done = here.oumi(*STAGE, "--output_path", "out.jsonl")
    assert done.code == 1
    assert "failed: row 2: refusal: on cue\n" in done.err
    assert "failed: row 7" not in done.err
    assert "... and 2 more failed\n" in done.err
    assert "8 rows: 1 ok, 7 failed (6 refusal, 1 internal); " in done.err
    assert done.err.endswith("answers: out.jsonl\nfailed rows: out.jsonl.failed.jsonl\n")
    assert len(lines(here.folder / "out.jsonl")) == 1
    assert len(lines(here.folder / "out.jsonl.failed.jsonl")) == 7


def test_a_defect_of_the_engine_shows_its_traceback_only_on_request(here: Any) -> None:
    here.cues("crash and burn")
    done = here.oumi(*STAGE)
    assert "RuntimeError" in done.err
    assert "Traceback" not in done.err
    assert "and burn" not in done.err
    done = here.oumi(*STAGE, OUMI_DEBUG="1")
    assert "RuntimeError: and burn" in done.err


def test_the_summary_is_json_on_request_where_answers_go_to_a_file(here: Any) -> None:
    here.cues("good", "fail refusal")
    done = here.oumi(*STAGE, "--output_path", "out.jsonl", "--json")
    summary = json.loads(done.out)
    assert (summary["rows"], summary["failed"], summary["exit_code"]) == (2, {"refusal": 1}, 1)


def test_keys_of_the_config_are_options_that_win_over_the_file(here: Any) -> None:
    here.write("c.yaml", "engine: echo\nmodel: {model_name: a}\ngeneration: {max_new_tokens: 9}\n")
    here.cues("a b c d")
    asked = ("infer", "-c", "c.yaml", "--input_path", "in.jsonl", "--json")
    assert replies(here.oumi(*asked).rows) == ["a b c d"]
    for override in (
        ["--generation.max_new_tokens", "2"],
        ["--generation.stop_strings[0]", "END", "--generation.max_new_tokens=2"],
    ):
        assert replies(here.oumi(*asked, *override).rows) == ["a b "]


def test_no_config_is_needed_where_engine_and_model_are_given(here: Any) -> None:
    here.cues("hello")
    done = here.oumi(
        "infer", "--engine", "echo", "--model.model_name", "any", "--input_path", "in.jsonl"
    )
    assert (done.code, done.out) == (0, "user: hello\nassistant: hello\n\n")


def test_a_warning_is_said_once_and_in_plain_words(here: Any) -> None:
    here.cues("a", "b")
    done = here.oumi(*STAGE, "--generation.min_p", "0.5")
    assert done.code == 0
    warnings = [line for line in done.err.splitlines() if "warning" in line.lower()]
    assert warnings == [
        "warning: generation.min_p: engine 'stage' does not use it",
        "warning: the stage is slippery",
    ]


def test_an_account_that_is_refused_stops_the_run(here: Any) -> None:
    here.cues("fail auth", *["next"] * 50)
    done = here.oumi(*STAGE, "--num_workers", "1", "--output_path", "out.jsonl")
    assert done.code == 3
    assert "stopped: the run stopped after 1 row: auth: on cue\n" in done.err
    assert done.err.endswith("the same command goes on from here\n")
    assert not (here.folder / "out.jsonl").exists()


def test_the_same_command_goes_on_and_tries_or_forgets_what_it_is_told_to(here: Any) -> None:
    here.cues("fail auth", "wait gate", "fail bad_request")
    asked = (*STAGE, "--output_path", "out.jsonl", "--num_workers", "1")
    assert here.oumi(*asked).code == 3
    (here.folder / "gate").touch()
    here.cues("mended", "wait gate", "fail bad_request")
    assert here.oumi(*asked).code == 1
    (here.folder / "gate").unlink()  # who asks again now, waits for ever
    assert here.oumi(*asked, "--retry-failed").code == 1
    assert replies(lines(here.folder / "out.jsonl")) == ["mended", "wait gate"]
    (here.folder / "gate").touch()
    assert "3 rows: 2 ok, 1 failed" in here.oumi(*asked, "--fresh").err


def test_an_engine_that_does_not_come_up_stops_the_run(here: Any) -> None:
    here.cues("hello")
    done = here.oumi(*STAGE, "--model.model_name", "dead")
    assert (done.code, done.err) == (3, "error: engine_dead: no such model\n")


def test_a_disk_that_refuses_stops_the_run_and_a_mended_one_lets_it_go_on(here: Any) -> None:
    here.cues(*(f"row {number} {'x' * 1000}" for number in range(200)))
    asked = ("--output_path", "out.jsonl", "--num_workers", "1")
    # In blocks of 1,024 bytes: files of 100 kB at most.
    done = here.shell(f"ulimit -f 100; exec oumi {shlex.join([*STAGE, *asked])}")
    assert done.code == 3
    assert "what was answered is kept; the same command goes on from here\n" in done.err
    assert f"error: the disk of {here.folder}/out.jsonl.oumi.db refused: " in done.err
    assert here.oumi(*STAGE, *asked).code == 0
    assert len(lines(here.folder / "out.jsonl")) == 200


def test_a_reader_that_goes_away_ends_the_program_without_a_word(here: Any) -> None:
    here.cues(*["hello"] * 20_000)
    with here.started(*STAGE, "--engine", "echo") as process:
        assert process.stdout.readline() == "user: hello\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("output", [(), ("--output_path", "out.jsonl")])
def test_ctrl_c_lets_what_is_in_flight_finish(here: Any, output: tuple[str, ...]) -> None:
    begun, gate = here.folder / "begun", here.folder / "gate"
    here.cues("first", f"meet {begun} {gate}", "never asked")
    with here.started(*STAGE, *output, "--json", "--num_workers", "1") as process:
        here.wait_for(begun, process)
        process.send_signal(signal.SIGINT)
        said = process.stderr.readline() + process.stderr.readline()
        assert "stopping: what is in flight is finished and kept" in said
        gate.touch()
        out, err = process.communicate()
    assert process.returncode == 130
    assert "2 rows: 2 ok" in err
    if output:
        assert json.loads(out)["interrupted"] is True
        assert not (here.folder / "out.jsonl").exists()
    else:
        assert replies([json.loads(line) for line in out.splitlines()])[0] == "first"


def test_ctrl_c_while_the_engine_starts_sends_nothing(here: Any) -> None:
    model = here.folder / "model"
    here.cues("first")
    with here.on_terminal(*STAGE, "--model.model_name", str(model)) as screen:
        screen.read_until("starting")
        screen.type("\x03")
        screen.read_until("finishing; Ctrl-C again cancels")
        model.touch()
        screen.read_until("0 rows: 0 ok")
        assert screen.end() == 130


def test_ctrl_c_twice_cancels_what_is_in_flight(here: Any) -> None:
    begun = here.folder / "begun"
    here.cues("first", f"meet {begun} {here.folder}/never", "third")
    with here.started(*STAGE, "--num_workers", "1") as process:
        here.wait_for(begun, process)
        process.send_signal(signal.SIGINT)
        assert "slippery" in process.stderr.readline()
        assert "Ctrl-C again cancels" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130
    assert out == "user: first\nassistant: first\n\n"
    assert "what was in flight is cancelled" in err
    assert "1 row: 1 ok" in err


def test_a_terminal_shows_a_bar_that_is_gone_at_the_end(here: Any) -> None:
    gate = here.folder / "gate"
    here.cues("one", "fail refusal", f"wait {gate}")
    with here.on_terminal(*STAGE, "--output_path", "out.jsonl") as screen:
        shown = screen.read_until("1 failed")
        assert "2/3 rows" in shown
        gate.touch()
        screen.read_until("3 rows: 2 ok, 1 failed (1 refusal)")
        assert screen.end() == 1
        assert "━" in screen.raw


def test_a_terminal_shows_answers_in_colour_and_obeys_none_of_them(here: Any) -> None:
    here.cues("shout red", "fail refusal")
    with here.on_terminal(*STAGE) as screen:
        assert screen.end() == 1
        assert re.search(r"\x1b\[32massistant *\x1b\[0m", screen.raw)
        assert "\x1b[31mred" not in screen.raw
        assert "\N{REPLACEMENT CHARACTER}[31mred" in screen.raw
        assert screen.text.count("refusal: on cue") == 1


def test_ctrl_c_on_a_terminal_says_that_the_run_is_finishing(here: Any) -> None:
    here.cues("one", "forever")
    with here.on_terminal(*STAGE, "--output_path", "out.jsonl") as screen:
        screen.read_until("1/2 rows")
        screen.type("\x03")
        screen.read_until("finishing; Ctrl-C again cancels")
        screen.type("\x03")
        screen.read_until("what was in flight is cancelled")
        assert screen.end() == 130

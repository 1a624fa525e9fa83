"""`oumi batch` as a program, from one process to the next."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sysconfig
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bench

OUMI = Path(sysconfig.get_path("scripts")) / "oumi"


def oumi(
    bench: Bench, *arguments: str, code: int = 0, given: str | None = None, **environ: str
) -> str:
    done = subprocess.run(
        [OUMI, "batch", *arguments],
        env=bench.environ | environ,
        cwd=bench.folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code in {0, 1} else done.stderr


def write(bench: Bench, name: str, *rows: Any) -> str:
    (bench.folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return name


def rows_of(bench: Bench, name: str) -> list[Any]:
    return [json.loads(line) for line in (bench.folder / name).read_text().splitlines()]


def prompts(*texts: str) -> list[dict[str, str]]:
    return [{"prompt": text} for text in texts]


@pytest.fixture
def config(bench: Bench) -> str:
    path = bench.folder / "config.yaml"
    path.write_text("engine: shelf\nmodel: {model_name: demo}\nengine_args: {folder: server}\n")
    return path.name


def submitted(bench: Bench, config: str, *texts: str) -> str:
    name = write(bench, "in.jsonl", *prompts(*texts))
    return oumi(bench, "submit", "-c", config, "--input_path", name).strip()


def test_a_batch_goes_from_command_to_command(bench: Bench, config: str) -> None:
    batch_id = submitted(bench, config, "a", "fail b", "c")
    assert oumi(bench, "status", batch_id) == "completed: 0/3 rows answered\n"
    waited = oumi(bench, "wait", batch_id, code=1)
    assert waited == "completed: 2/3 rows answered, 1 failed (1 failed)\n"
    oumi(bench, "results", batch_id, "--output_path", "out.jsonl", code=1)
    assert [row["messages"][-1]["content"] for row in rows_of(bench, "out.jsonl")] == [
        "re: a",
        "re: c",
    ]
    (failed,) = rows_of(bench, "out.jsonl.failed.jsonl")
    assert (failed["failure"]["kind"], failed["failure"]["index"]) == ("bad_request", 1)
    listed = json.loads(oumi(bench, "list", "--json"))
    assert [one["id"] for one in listed] == [batch_id]
    assert batch_id in oumi(bench, "list")
    assert "1 failed" in oumi(bench, "resubmit", batch_id, "--online", code=1)
    oumi(bench, "forget", batch_id)
    assert json.loads(oumi(bench, "list", "--json")) == []


def test_rows_are_read_from_standard_input(bench: Bench, config: str) -> None:
    lines = '{"prompt": "a"}\n\n{"prompt": "b"}\n'
    batch_id = oumi(bench, "submit", "-c", config, "--input_path", "-", given=lines).strip()
    assert len(oumi(bench, "results", batch_id).splitlines()) == 2
    faulty = '{"prompt": "a"}\nnone\n'
    said = oumi(bench, "submit", "-c", config, "--input_path", "-", code=2, given=faulty)
    assert "standard input:2: not JSON" in said
    assert len(bench.batches()) == 1


def test_the_id_comes_out_though_the_server_cannot_be_asked_for_more(
    bench: Bench, config: str
) -> None:
    bench.server.mkdir()
    (bench.server / "fail-status").write_text("quota")
    name = write(bench, "in.jsonl", *prompts("a"))
    state = json.loads(oumi(bench, "submit", "-c", config, "--input_path", name, "--json"))
    assert (state["status"], state["total_requests"]) == ("validating", 1)
    assert [path.stem for path in bench.batches()] == state["part_handles"]


def test_results_are_printed_without_an_output_path(bench: Bench, config: str) -> None:
    batch_id = submitted(bench, config, "a", "b")
    lines = oumi(bench, "results", batch_id).splitlines()
    assert [json.loads(line)["messages"][-1]["content"] for line in lines] == ["re: a", "re: b"]


def test_a_batch_that_is_not_done_ends_with_3_and_says_how_far_it_is(
    bench: Bench, config: str
) -> None:
    batch_id = submitted(bench, config, "a", "b")
    bench.change(bench.batches()[0], status="in_progress", counts=[2, 1, 0], answered=1)
    state = json.loads(oumi(bench, "status", batch_id, "--json"))
    assert (state["status"], state["completed_requests"]) == ("in_progress", 1)
    assert "in_progress, 1 of 2 rows" in oumi(bench, "results", batch_id, code=3)
    assert "not at its end" in oumi(bench, "wait", batch_id, "--timeout", "0.1", code=3)
    arguments = ("results", batch_id, "--partial", "--output_path", "out.jsonl")
    assert "1/2" in oumi(bench, *arguments, code=3)
    assert len(rows_of(bench, "out.jsonl")) == 1
    assert oumi(bench, "cancel", batch_id).startswith("cancelled")


def test_progress_is_shown_for_machines(bench: Bench, config: str) -> None:
    batch_id = submitted(bench, config, "a")
    done = subprocess.run(
        [OUMI, "batch", "wait", batch_id, "--progress", "json", "--json"],
        env=bench.environ,
        cwd=bench.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (event,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (event["event"], event["id"]) == ("progress", batch_id)
    assert json.loads(done.stdout)["outcomes"] == {"ok": 1}


def request(custom_id: str, text: str, **body: Any) -> dict[str, Any]:
    fields = {"model": "their-model", "messages": [{"role": "user", "content": text}], **body}
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": fields,
    }


def test_files_of_openai_go_in_and_come_out(bench: Bench, config: str) -> None:
    more = {"temperature": 0.5, "max_tokens": 7, "stop": "END", "seed": 3, "store": True}
    requests = [request(f"r{at}", text, **more) for at, text in enumerate(("a", "fail", "expire"))]
    name = write(bench, "requests.jsonl", *requests)
    arguments = ("-c", config, "--input_path", name, "--format", "openai-batch")
    batch_id = oumi(bench, "submit", *arguments).strip()
    (sent,) = (bench.server / "files").iterdir()
    body = json.loads(sent.read_text().splitlines()[0])["body"]
    assert body == {
        "model": "their-model",
        "messages": [{"role": "user", "content": "a"}],
        "max_completion_tokens": 7,
        "temperature": 0.5,
        "seed": 3,
        "stop": ["END"],
        "store": True,
    }
    out = ("--output_path", "out.jsonl", "--format", "openai-batch")
    oumi(bench, "wait", batch_id, code=1)
    oumi(bench, "results", batch_id, *out, code=1)
    (answer,) = rows_of(bench, "out.jsonl")
    assert answer["custom_id"] == "r0"
    assert answer["response"]["status_code"] == 200
    assert answer["response"]["body"]["choices"][0]["message"]["content"] == "re: a"
    refused, expired = rows_of(bench, "out.jsonl.failed.jsonl")
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("r1", 400)
    assert (expired["custom_id"], expired["error"]["code"]) == ("r2", "batch_expired")


def test_each_request_of_a_file_is_answered_locally_by_its_own_parameters(bench: Bench) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}
    requests = [
        request("r/0", "one two three", max_tokens=2),
        request("r 1", "one two three", stop="three", temperature=0.7),
        request("r2", "one two three", store=True),
    ]
    name = write(bench, "requests.jsonl", *requests)
    submit = ("submit", "--engine", "echo", "--input_path", name, "--format", "openai-batch")
    out = ("--output_path", "out.jsonl", "--format", "openai-batch")
    batch_id = oumi(bench, *submit).strip()
    oumi(bench, "wait", batch_id)
    oumi(bench, "results", batch_id, *out)
    choices = {
        line["custom_id"]: line["response"]["body"]["choices"][0]
        for line in rows_of(bench, "out.jsonl")
    }
    assert {name: one["message"]["content"] for name, one in choices.items()} == {
        "r/0": "one two ",
        "r 1": "one two ",
        "r2": "one two three",
    }
    assert choices["r/0"]["finish_reason"] == "length"
    strict = oumi(bench, *submit, "--on_unsupported", "error", code=2)
    assert "requests.jsonl:3: body.store: this engine does not use it" in " ".join(strict.split())
    write(bench, "requests.jsonl", *requests, request("r3", "one", response_format=wanted))
    refused = " ".join(oumi(bench, *submit, code=2).split())
    assert "requests.jsonl:4: body.response_format: " in refused
    assert "does not enforce the constraint 'json'" in refused
    write(bench, "requests.jsonl", request("r0", "a"), request("r1", "a", temperature="hot"))
    assert "requests.jsonl:2: body.temperature: expected a number" in " ".join(
        oumi(bench, *submit, code=2).split()
    )


def test_faults_of_openai_files_are_found_before_anything_is_sent(
    bench: Bench, config: str
) -> None:
    name = write(bench, "requests.jsonl", request("r0", "a"), request("r0", "b"))
    arguments = ("submit", "-c", config, "--input_path", name, "--format", "openai-batch")
    said = " ".join(oumi(bench, *arguments, code=2).split())
    assert "requests.jsonl:2: custom_id: 'r0' is that of line 1" in said
    assert not bench.server.exists()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("status", "batch-none"), "there is no batch 'batch-none'"),
        (("submit", "--engine", "echo"), "give --input_path FILE"),
        (
            ("submit", "--engine", "echo", "--input_path", "-", "--format", "openai-batch"),
            "read twice",
        ),
        (("status", "x" * 5000), "is no id of a batch"),
        (("status", "../../batch"), "is no id of a batch"),
        (("results", "batch-none", "--json"), "--json needs --output_path"),
        (("submit", "--engine", "echo", "--tempo", "1"), "no option --tempo"),
        (("sumbit",), "sumbit"),
    ],
)
def test_wrong_use_is_said_and_ends_with_2(
    bench: Bench, arguments: tuple[str, ...], fault: str
) -> None:
    assert fault in oumi(bench, *arguments, code=2)


def without_facts(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "batch.db", isolation_level=None)) as database:
        database.execute("DELETE FROM fact WHERE name = 'rows'")


def without_a_table(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "batch.db", isolation_level=None)) as database:
        database.execute("DROP TABLE result")


def with_half_a_status(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "batch.db", isolation_level=None)) as database:
        database.execute("UPDATE part SET status = substr(status, 1, 20)")


def cut_off(folder: Path) -> None:
    os.truncate(folder / "batch.db", 6000)


def without_rows(folder: Path) -> None:
    (folder / "rows.jsonl").unlink()


@pytest.mark.parametrize(
    "damage", [without_facts, without_a_table, with_half_a_status, cut_off, without_rows]
)
def test_a_damaged_manifest_is_an_error_that_names_it(
    bench: Bench, config: str, damage: Callable[[Path], None]
) -> None:
    whole = submitted(bench, config, "a")
    damaged = submitted(bench, config, "b")
    oumi(bench, "wait", damaged)
    folder = bench.folder / "state" / "batches" / damaged
    damage(folder)
    said = oumi(bench, "results", damaged, "--output_path", "out.jsonl", code=2)
    assert str(folder) in said
    assert "Traceback" not in said
    if damage is not without_rows:
        assert str(folder) in oumi(bench, "status", damaged, code=2)
        assert oumi(bench, "status", whole).startswith("completed")
        done = subprocess.run(
            [OUMI, "batch", "list"],
            env=bench.environ,
            cwd=bench.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split()[0] == whole
        assert str(folder) in done.stderr.replace("\n", "")


def test_shells_complete_commands_and_ids(bench: Bench, config: str) -> None:
    batch_id = submitted(bench, config, "a")
    for words, expected in (("oumi batch re", "results"), ("oumi batch wait batch-", batch_id)):
        done = subprocess.run(
            [OUMI],
            env=bench.environ
            | {"_OUMI_COMPLETE": "bash_complete", "COMP_WORDS": words}
            | {"COMP_CWORD": str(len(words.split()) - 1)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert expected in done.stdout

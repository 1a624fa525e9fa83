"""`oumi engines`, `oumi config` and the program around them."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest


def test_the_listing_is_one_line_an_engine(here: Any) -> None:
    done = here.oumi("engines")
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["echo", "available", "oumi-core", version("oumi-core")] in lines
    assert ["stage", "available", "oumi-stage", "1.0"] in lines


def test_the_listing_shows_what_is_switched_off_and_why(here: Any) -> None:
    done = here.oumi("engines", OUMI_DISABLE_PLUGINS="oumi-stage")
    (line,) = [line for line in done.out.splitlines() if line.startswith("stage ")]
    assert "disabled" in line
    assert "OUMI_DISABLE_PLUGINS" in line


def test_the_listing_shows_clashes_and_providers(here: Any) -> None:
    lines = [line.split(maxsplit=4) for line in here.oumi("engines").out.splitlines()]
    twins = [line[1:4] for line in lines if line[0] == "twin"]
    assert twins == [["clash", "oumi-stage", "1.0"], ["clash", "oumi-stage-twin", "2.0"]]
    assert "ask for 'oumi-stage:twin'" in next(line[4] for line in lines if line[0] == "twin")
    assert ["stage-cloud", "available", "oumi-stage", "1.0"] in lines
    (fog,) = [line for line in lines if line[0] == "stage-fog"]
    assert fog[1] == "broken"
    assert "base_url" in fog[4]


def test_show_of_a_provider_and_of_a_clash(here: Any) -> None:
    cloud = here.oumi("engines", "show", "stage-cloud")
    assert "https://api.stage.example/v1" in cloud.out
    assert "in $STAGE_API_KEY" in cloud.out
    clash = here.oumi("engines", "show", "twin")
    assert clash.code == 1
    assert clash.out.startswith("twin  clash\n")
    assert "announced by oumi-stage 1.0 and oumi-stage-twin 2.0" in clash.out
    chosen = here.oumi("engines", "show", "oumi-stage-twin:twin")
    assert (chosen.code, chosen.out.splitlines()[0]) == (0, "twin  ok")


def test_the_listing_imports_no_plugin_and_nothing_that_is_slow(here: Any) -> None:
    program = """
import sys
from oumi_core.cli import main
main(["engines"])
slow = ("oumi_stage", "oumi_stage_wreck", "rich", "yaml", "asyncio", "cattrs", "jsonschema")
print([name for name in slow if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=here.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == "[]\n"


def test_the_listing_as_json(here: Any) -> None:
    done = here.oumi("engines", "--json")
    stage = next(row for row in json.loads(done.out) if row["name"] == "stage")
    assert (stage["state"], stage["distribution"], stage["reason"]) == (
        "available",
        "oumi-stage",
        None,
    )


def test_a_check_loads_each_and_finds_what_is_broken(here: Any) -> None:
    only = {"OUMI_PLUGINS": "oumi-core,oumi-stage"}
    done = here.oumi("engines", "--check", "--json", **only)
    assert done.code == 1
    states = {row["name"]: row["state"] for row in json.loads(done.out)}
    assert states["stage"] == "ok"
    assert states["stage-wreck"] == "BROKEN"
    assert "stage" in here.oumi("engines", "--check", OUMI_DISABLE_PLUGINS="stage-wreck").out
    assert here.oumi("engines", "--check", OUMI_PLUGINS="echo").code == 0


def test_show_says_what_an_engine_can_do(here: Any) -> None:
    done = here.oumi("engines", "show", "STAGE")
    assert done.code == 0
    facts = {
        label: text
        for label, _, text in (line.strip().partition("  ") for line in done.out.splitlines())
    }
    assert facts["stage"].strip() == "ok"
    assert facts["streaming"].strip() == "yes"
    assert facts["tools"].strip() == "no"
    assert facts["guided"].strip() == "choice"
    assert facts["from"].strip() == "oumi-stage 1.0"
    assert facts["is"].strip().startswith("Waits, fails")


def test_show_as_json(here: Any) -> None:
    row = json.loads(here.oumi("engines", "show", "stage", "--json").out)
    assert row["capabilities"]["streaming"] is True
    assert row["class_path"] == "oumi_stage:StageEngine"


def test_show_tells_a_broken_engine_from_an_unknown_one(here: Any) -> None:
    broken = here.oumi("engines", "show", "stage-wreck")
    assert broken.code == 1
    assert "BROKEN" in broken.out
    assert "the scenery fell" in broken.out
    unknown = here.oumi("engines", "show", "stagy")
    assert (unknown.code, unknown.out) == (2, "")
    assert "did you mean 'stage'" in unknown.err


def test_a_terminal_gets_a_table_and_what_else_could_be_installed(here: Any) -> None:
    with here.on_terminal("engines", bare=True, OUMI_DISABLE_PLUGINS="stage-wreck") as screen:
        assert screen.end() == 0
        assert "\x1b[32mavailable" in screen.raw
        assert "pip install oumi-vllm[cuda]" in " ".join(screen.text.split())
    with here.on_terminal("engines", NO_COLOR="1") as screen:
        assert screen.end() == 0
        assert "\x1b[32m" not in screen.raw


def test_a_good_config_is_described(here: Any) -> None:
    done = here.oumi("config", "check", "stage.yaml", "--model.adapter_model", "pirate")
    assert done.code == 0
    assert done.out.splitlines() == [
        "stage.yaml: good",
        "  model   demo with adapter pirate",
        "  engine  stage (oumi-stage 1.0, available)",
    ]
    done = here.oumi("config", "check", "stage.yaml", "--engine=vllm", bare=True)
    assert done.code == 0
    assert "vllm: not installed: engine 'vllm' needs: pip install oumi-vllm[cuda]" in done.out


def test_every_fault_of_a_config_is_listed(here: Any) -> None:
    here.write("bad.yaml", "modle: {}\ngeneration: {top_p: 7, seed: x}\n")
    done = here.oumi("config", "check", "bad.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: bad.yaml: 3 faults:\n  modle: unknown key; ")
    assert "did you mean model?" in done.err


def test_the_schema_is_json(here: Any) -> None:
    schema = json.loads(here.oumi("config", "schema").out)
    assert "generation" in schema["properties"]


def test_the_version(here: Any) -> None:
    assert here.oumi("--version").out.startswith(f"oumi-core {version('oumi-core')} ")


def test_streams_that_were_closed_do_no_harm(here: Any) -> None:
    for command, code in (("engines", 0), ("infer -c stage.yaml", 2)):
        done = here.shell(f"exec oumi {command} <&-")
        assert done.code == code
        assert "Traceback" not in done.err


@pytest.mark.parametrize("asked", ["--prompt hi", "--input_path in.jsonl"])
def test_a_full_disk_behind_standard_output_stops_with_a_word(here: Any, asked: str) -> None:
    (here.folder / "in.jsonl").write_text('{"prompt": "a"}\n' * 1000)
    done = here.shell(f"oumi infer --engine echo --model.model_name m {asked} > /dev/full")
    assert done.code == 3
    assert done.err.endswith(
        "standard output: the disk refused a write: No space left on device; make room and run the "
        "same again\n"
    )


def test_help_names_the_commands(here: Any) -> None:
    for arguments, code in ((["--help"], 0), ([], 2)):
        done = here.oumi(*arguments)
        assert done.code == code
        shown = done.out + done.err
        for command in ("infer", "engines", "config", "completion"):
            assert f"\n  {command} " in shown
    assert "--input_path, --input-path" in here.oumi("infer", "-h").out


def test_an_unknown_command_gets_the_nearest(here: Any) -> None:
    done = here.oumi("engine")
    assert done.code == 2
    assert "error: there is no command 'engine'; did you mean 'engines'?" in done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(here: Any, shell: str) -> None:
    done = here.oumi("completion", shell)
    assert done.code == 0
    assert "_OUMI_COMPLETE" in done.out


def test_engines_and_files_are_completed(here: Any) -> None:
    def completed(line: str) -> str:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        out: str = here.oumi(_OUMI_COMPLETE="bash_complete", **words).out
        return out

    assert "plain,stage\n" in completed("oumi infer --engine sta")
    assert "plain,stage\n" in completed("oumi engines show sta")
    assert "file," in completed("oumi infer -c x")
    assert "plain,--input_path\n" in completed("oumi infer --in")

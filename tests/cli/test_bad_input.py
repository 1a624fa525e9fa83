"""What is wrong is said with its place and what to do, and the program ends with 2."""

from __future__ import annotations

from typing import Any

import pytest

GOOD = "engine: echo\nmodel: {model_name: demo}\n"
ROW = '{"messages": [{"role": "user", "content": "hello"}]}\n'

CONFIGS = {
    "empty": ("", "c.yaml: is empty"),
    "not-yaml": ("model: [\n", "c.yaml: line 2, column 1: is not YAML: "),
    "not-a-mapping": ("- a\n", "c.yaml: expected a mapping with keys such as model"),
    "unknown-key": (
        f"{GOOD}generation: {{temprature: 1}}\n",
        "c.yaml: generation.temprature: unknown key; did you mean temperature? (line 3)",
    ),
    "two-faults": (
        f"{GOOD}generation: {{temperature: -1, top_p: 2}}\n",
        "c.yaml: 2 faults:\n  generation.temperature: ",
    ),
    "not-installed": (
        "engine: vllm\nmodel: {model_name: m}\n",
        "engine 'vllm' needs: pip install oumi-vllm[cuda]",
    ),
    "unknown-engine": (
        "engine: stagee\nmodel: {model_name: m}\n",
        "there is no engine 'stagee'; did you mean 'stage'",
    ),
    "broken-engine": (
        "engine: stage-wreck\nmodel: {model_name: m}\n",
        "raised RuntimeError: the scenery fell",
    ),
    "no-engine": ("model: {model_name: m}\n", "no engine is named; give `engine:` in the config"),
    "no-model": ("engine: echo\n", "model: missing; give model.model_name"),
}

INPUTS = {
    "empty": ("", "in.jsonl: no rows; it needs one JSON object a line"),
    "not-json": (f"{ROW}{{oops\n", "in.jsonl:2: "),
    "not-a-row": (f'{ROW}\n{{"mesages": []}}\n', "in.jsonl:3: 'mesages': unknown shape of a row"),
    "no-messages": ('{"messages": []}\n', "in.jsonl:1: messages: empty"),
    "wrong-role": (
        '{"messages": [{"role": "usr", "content": "x"}]}\n',
        "in.jsonl:1: messages[0].role: 'usr' is not one of system, user, assistant, tool",
    ),
    "array": ('[{"messages": []}]\n', "in.jsonl:1: the file is one JSON array"),
}

ARGUMENTS = {
    "no-config": (["-c", "no.yaml"], "error: no.yaml: there is no such file"),
    "no-input": (["--input_path", "no.jsonl"], "error: no.jsonl: no such file"),
    "input-is-a-folder": (["--input_path", "."], "is a directory"),
    "output-in-a-file": (["--output_path", "c.yaml/out.jsonl"], "output_path: "),
    "output-is-a-folder": (["--output_path", "."], "output_path: "),
    "output-is-the-input": (["--output_path", "in.jsonl"], "in.jsonl is the input"),
    "unknown-override": (
        ["--generation.temprature", "1"],
        "generation.temprature: unknown key; did you mean temperature? (an override)",
    ),
    "unknown-section": (["--generaton.seed=1"], "did you mean generation?"),
    "unknown-option": (["--ouput_path", "x"], "no option --ouput_path; did you mean --output_path"),
    "override-out-of-range": (["--generation.top_p", "7"], "generation.top_p: "),
    "override-of-no-list": (
        ["--generation[0].top_p", "7"],
        "generation: expected a mapping, got a list",
    ),
    "override-without-value": (["--generation.top_p"], "--generation.top_p needs a value"),
    "stray-argument": (["in.jsonl"], "'in.jsonl' is neither an option nor the value of one"),
    "two-ways": (["--prompt", "x"], "--input_path and --prompt exclude each other"),
    "image-for-a-file": (["--image", "x.png"], "--image and --system-prompt are for --prompt"),
}


def refused(here: Any, *arguments: str, stdin: str = "") -> str:
    done = here.oumi("infer", *arguments, stdin=stdin)
    assert done.code == 2, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.startswith("error: ")
    message: str = done.err
    return message


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config(here: Any, case: str) -> None:
    text, message = CONFIGS[case]
    here.write("c.yaml", text)
    here.write("in.jsonl", ROW)
    assert message in refused(here, "-c", "c.yaml", "--input_path", "in.jsonl")


@pytest.mark.parametrize("case", INPUTS)
def test_an_input(here: Any, case: str) -> None:
    text, message = INPUTS[case]
    here.write("c.yaml", GOOD)
    here.write("in.jsonl", text)
    output = ("--output_path", "out.jsonl")
    assert message in refused(here, "-c", "c.yaml", "--input_path", "in.jsonl", *output)
    assert sorted(path.name for path in here.folder.glob("*.jsonl")) == ["in.jsonl"]


@pytest.mark.parametrize("case", ARGUMENTS)
def test_an_argument(here: Any, case: str) -> None:
    arguments, message = ARGUMENTS[case]
    here.write("c.yaml", GOOD)
    here.write("in.jsonl", ROW)
    assert message in refused(here, "-c", "c.yaml", "--input_path", "in.jsonl", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to answer; give --input_path FILE, --prompt TEXT, or -i"),
        (["--prompt", " "], "--prompt is empty"),
        (["--prompt", "x", "--output_path", "y"], "--output_path needs --input_path"),
        (["--prompt", "x", "--fresh"], "--retry-failed and --fresh need --output_path"),
        (["-i", "--json"], "--json is for --input_path and --prompt"),
        (["--prompt", "x", "--image", "doc.pdf"], "doc.pdf: is a PDF; convert its pages"),
        (["--prompt", "x", "--image", "c.yaml"], "c.yaml: an image of "),
        (["--prompt", "x", "--image", "."], ".: the image cannot be read: Is a directory"),
    ],
)
def test_a_question(here: Any, arguments: list[str], message: str) -> None:
    here.write("c.yaml", GOOD)
    here.write("doc.pdf", b"%PDF-1.7")
    assert message in refused(here, "-c", "c.yaml", *arguments)


def test_debug_shows_where_an_error_was_raised(here: Any) -> None:
    done = here.oumi("infer", "-c", "no.yaml", OUMI_DEBUG="1")
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.endswith("error: no.yaml: there is no such file\n")

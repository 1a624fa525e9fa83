"""Runs what the Markdown pages show. What a fenced block is, its first line says.

    ```python                 is run; all blocks of a page share their names
    ```text                   is what the Python block above it prints
    ```console                holds commands after `$ ` and what they print
    ```yaml title="a.yaml"    is the file of that name, for the blocks below; where the name
                              begins with docs/, it is what the checkout holds
    ```yaml                   is a config that loads
    ```bash, ```shell         installs something: not run here, but its paths must exist
    ```                       is a drawing

`...` in an output stands for anything. A command that fails is followed by `$ echo $?`.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sybil import Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from oumi_core.configs import InferenceConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil import Document

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "contrib").glob("*/README.md")),
    *sorted((ROOT / "plugins").glob("*/README.md")),
)
INFO = re.compile(r'(?P<language>\w*)(?: title="(?P<title>[^"]+)")?$\n', re.MULTILINE)
COMMAND = re.compile(r"^\$ (.*(?:\\\n.*)*)\n?", re.MULTILINE)

run_python = PythonEvaluator()


def parse(document: Document) -> Iterator[Region]:
    for region in RawFencedCodeBlockLexer(INFO)(document):
        language, title = region.lexemes["language"], region.lexemes["title"]
        if title:
            region.evaluator = write_file
        elif language:
            region.evaluator = EVALUATORS.get(language, refuse)
        else:
            continue
        region.parsed = region.lexemes["source"]
        yield region


def write_file(example: Example) -> None:
    path = Path(example.region.lexemes["title"])
    if path.parts[0] == "docs":
        assert example.parsed == (ROOT / path).read_text(), "the file in the checkout differs"
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(example.parsed)


def run_and_keep_output(example: Example) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run_python(example)
    example.namespace["__printed__"] = printed.getvalue()


def compare_output(example: Example) -> None:
    compare(example.parsed, example.namespace.pop("__printed__", "(nothing was run)\n"))


def run_commands(example: Example) -> None:
    _, *parts = COMMAND.split(example.parsed)
    code = 0
    for command, expected in zip(parts[::2], parts[1::2], strict=True):
        if code and not command.startswith("echo $?"):
            pytest.fail(f"the command above `{command}` ended with {code}")
        done = run_shell(f"(exit {code}); {command}")
        code = done.returncode
        compare(expected, done.stdout)
    if code:
        pytest.fail(f"the last command ended with {code}")


def run_shell(command: str) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OUMI_")}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command],
        env=environ | {"COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )


def check_paths(example: Example) -> None:
    missing = [
        path
        for path in re.findall(r"(?<=\s)(?:\./)?[\w./-]+/[\w./-]+", example.parsed)
        if not path.startswith(".venv") and not (ROOT / path).exists()
    ]
    assert not missing


def load_config(example: Example) -> None:
    InferenceConfig.from_str(str(example.parsed))


def refuse(example: Example) -> None:
    language = example.region.lexemes["language"]
    pytest.fail(f"nothing runs a block of {language}; give it a title, or see tests/docs")


def compare(expected: str, printed: str) -> None:
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
    expected, printed = tidy(expected), tidy(printed)
    if not checker.check_output(expected, printed, flags):
        pytest.fail(checker.output_difference(doctest.Example("", expected), printed, flags))


def tidy(text: str) -> str:
    """Without white space at the ends of lines, and of the whole."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


EVALUATORS = {
    "python": run_and_keep_output,
    "text": compare_output,
    "console": run_commands,
    "bash": check_paths,
    "shell": check_paths,
    "yaml": load_config,
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "example" in metafunc.fixturenames:
        sybil = Sybil([parse], path=str(ROOT))
        examples = [example for page in PAGES for example in sybil.parse(page).examples()]
        names = [f"{Path(one.path).relative_to(ROOT)}:{one.line}" for one in examples]
        metafunc.parametrize("example", examples, ids=names)


@pytest.fixture(scope="module")
def folders() -> dict[str, Path]:
    return {}


@pytest.fixture
def page_folder(
    example: Example,
    folders: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The working folder that all examples of a page share; it looks like the checkout."""
    if example.path not in folders:
        folder = tmp_path_factory.mktemp(Path(example.path).stem.replace("-", "_"))
        for name in ("docs", "tests", "contrib", "plugins"):
            (folder / name).symlink_to(ROOT / name)
        folders[example.path] = folder
    monkeypatch.chdir(folders[example.path])
    monkeypatch.setenv("XDG_STATE_HOME", str(folders[example.path] / "state"))
    return folders[example.path]

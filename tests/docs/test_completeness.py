"""The pages name all there is: fields, hooks, public names, commands."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pluggy
import pytest

from oumi_core import errors, hookspecs
from oumi_core.types import FailureKind

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_the_tables_of_fields_are_those_of_the_classes() -> None:
    writer = Path(__file__).with_name("write_configuration.py")
    done = subprocess.run(
        [sys.executable, writer, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_hook_is_a_heading_with_its_signature() -> None:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    hooks = [name for name in dir(manager.hook) if not name.startswith("_")]
    assert hooks
    for name in hooks:
        arguments = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
        assert f"\n## `{name}({arguments})`\n" in page("hooks.md")


@pytest.mark.parametrize(
    "module",
    [
        "oumi_core",
        "oumi_core.batching",
        "oumi_core.configs",
        "oumi_core.data",
        "oumi_core.engine",
        "oumi_core.inference",
        "oumi_core.testing",
        "oumi_core.types",
    ],
)
def test_each_public_name_stands_in_the_reference(module: str) -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", section(page("python.md"), module), re.MULTILINE))
    assert named == set(importlib.import_module(module).__all__)


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next of its level."""
    _, found, rest = text.partition(f"\n## `{heading}`\n")
    assert found, f"there is no heading {heading}"
    return rest.partition("\n## ")[0]


def test_each_error_and_each_kind_of_failure_is_explained() -> None:
    text = page("errors.md")
    for name in (*errors.__all__, *FailureKind):
        assert f"| `{name}` |" in text


def test_each_page_is_linked_from_the_index() -> None:
    pages = {path.name for path in DOCS.glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\]\(([\w-]+\.md)\)", page("index.md")))


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")])
def test_each_link_to_a_file_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_distribution_names_the_pythons_that_the_tests_run_on() -> None:
    def pythons(path: Path) -> set[str]:
        given = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["classifiers"]
        return {each for each in given if each.startswith("Programming Language :: Python :: 3.")}

    tested = pythons(ROOT / "pyproject.toml")  # where the session `pythons` has them from
    assert tested
    for folder in ("plugins", "contrib"):
        for path in (ROOT / folder).glob("*/pyproject.toml"):
            assert pythons(path) == tested


def test_the_ci_runs_the_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    _, second, *_ = re.findall(r"^```bash\n(.*?)\n```", readme, re.MULTILINE | re.DOTALL)
    assert second in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_changelog_gives_a_reason_for_each_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for group in project["optional-dependencies"].values() for one in group]
    needed = {re.split(r"[\[>=<]", one)[0] for one in [*project["dependencies"], *extras]}
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    table = changes.partition("### Dependencies, and why each is there")[2].partition("\n#")[0]
    named = re.findall(r"^\| ([\w-]+)(?: \(extra `\w+`\))? \|", table, re.MULTILINE)
    assert set(named) - {"package"} == needed

"""Fails where a dependency is installed in a newer version than the oldest that is allowed.

    python tests/oldest.py [--but CONSTRAINTS] [NAME ...]

Every `>=` in the `pyproject.toml` of a distribution that is installed is held against what is
there, so that no bound is only claimed: those of NAME, or all but what CONSTRAINTS pins and what an
extra names that is not installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "oumi-"


def main() -> int:
    """Print each bound with what is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--but", type=Path, help="a file of constraints, whose names are left out")
    parser.add_argument("only", metavar="NAME", nargs="*", help="a dependency; by default all")
    given = parser.parse_args()
    pinned, only = set(names_in(given.but)), set(given.only)
    compared = newer = 0
    for distribution, requirement in bounds():
        name = canonicalize_name(requirement.name)
        installed = version_of(name)
        lowest = lower_bound(requirement)
        if name in pinned or (only and name not in only) or name.startswith(PREFIX):
            continue
        if installed is None or lowest is None:
            continue
        compared += 1
        newer += installed > lowest
        verdict = "NEWER than" if installed > lowest else "is"
        line = f"{distribution}: {name} {installed} {verdict} {requirement.specifier}\n"
        sys.stdout.write(line)
    return 1 if newer or not compared else 0


def names_in(constraints: Path | None) -> Iterator[str]:
    if constraints is not None:
        for line in constraints.read_text(encoding="utf-8").splitlines():
            if pin := line.partition("#")[0].strip():
                yield canonicalize_name(Requirement(pin).name)


def bounds() -> Iterator[tuple[str, Requirement]]:
    """What each of our distributions that is installed needs, and what its extras need."""
    for distribution in importlib.metadata.distributions():
        if distribution.name.startswith(PREFIX):
            for text in distribution.requires or ():
                yield distribution.name, Requirement(text)


def version_of(name: str) -> Version | None:
    try:
        return Version(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return None


def lower_bound(requirement: Requirement) -> Version | None:
    """The oldest version that a requirement allows; None if it has no `>=` or `==`."""
    found = [
        Version(each.version) for each in requirement.specifier if each.operator in {">=", "=="}
    ]
    return max(found, default=None)


if __name__ == "__main__":
    sys.exit(main())

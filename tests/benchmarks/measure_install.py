"""What `pip install oumi-core` puts on a machine: packages and megabytes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Figure, Line, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence")
"""What a fresh virtual environment holds before anything is installed, by the start of its name."""


def measure() -> Iterator[Line]:
    """Build the wheel, install it into a fresh environment, and look at what is there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip(Path(sys.executable), "wheel", "--no-deps", "-w", name, str(ROOT))
        venv.create(folder / "venv", with_pip=True)
        [wheel] = folder.glob("*.whl")
        pip(folder / "venv/bin/python", "install", "--no-compile", str(wheel))
        [site] = folder.glob("venv/lib/python*/site-packages")
        packages = sorted(_distributions(site))
        sizes = _sizes(site)
    biggest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.most_common(4))
    yield Line(
        "pip install oumi-core: packages",
        str(len(packages)),
        "",
        Figure([len(packages)], "packages"),
        must=18,
        beyond=16,
    )
    megabytes = Figure([sizes.total() / 1e6], "MB")
    yield Line(
        "pip install oumi-core: on disk, without bytecode",
        str(megabytes),
        f"of which {biggest}",
        megabytes,
        must=18,
        beyond=15,
    )


def pip(python: Path, *arguments: str) -> None:
    """Run pip in an environment.

    Raises:
        Skipped: it did not work.
    """
    command = [str(python), "-m", "pip", "-q", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise Skipped(f"pip {arguments[0]} did not work: {' '.join(reason)}")


def _distributions(site: Path) -> Iterator[str]:
    for info in site.glob("*.dist-info"):
        if not info.name.startswith(NOT_OURS):
            yield info.name.partition("-")[0]


def _sizes(site: Path) -> Counter[str]:
    """Bytes on disk, as `du` counts them, by the name at the top."""
    sizes: Counter[str] = Counter()
    for path in site.rglob("*"):
        place = path.relative_to(site)
        if not place.parts[0].startswith(NOT_OURS) and "__pycache__" not in place.parts:
            sizes[place.parts[0]] += path.lstat().st_blocks * 512
    return sizes

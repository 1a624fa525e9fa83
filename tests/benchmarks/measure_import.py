"""What importing costs, and that nothing heavy comes with it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from harness import Figure, Line, child_cpu, interleave

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15
ALL_OF_IT = (
    "from oumi_core import get_engine, InferenceEngine, list_engines\n"
    "import oumi_core.types, oumi_core.configs"
)
"""What a program imports that uses the package; `import oumi_core` alone loads next to nothing."""

PROGRAMS = {
    "python -c pass": "pass",
    "import oumi_core": "import oumi_core",
    "all": ALL_OF_IT,
    "import attrs, msgspec, asyncio": "import attrs, msgspec, asyncio",
}
HEAVY = {
    "aiohttp",
    "cattrs",
    "click",
    "httpx",
    "importlib.metadata",
    "jsonschema",
    "numpy",
    "pydantic",
    "rich",
    "torch",
    "yaml",
}
"""What must not come along, however light it is where it is not installed."""


def measure() -> Iterator[Line]:
    """CPU of the imports above what the interpreter takes, and the heavy modules they load."""
    with tempfile.TemporaryDirectory() as folder:
        took = interleave(
            {name: partial(_milliseconds, code, folder) for name, code in PROGRAMS.items()},
            ROUNDS,
            "ms",
        )
    bare = took["python -c pass"]
    other = f"{bare}: python -c pass"
    for name, what in (
        ("import oumi_core", "import oumi_core, net of the interpreter"),
        ("all", "import get_engine, list_engines, types, configs, net"),
    ):
        yield Line(what, str(took[name]), other, took[name] - bare, must=100, beyond=70)
    scale = "import attrs, msgspec, asyncio"
    yield Line(
        "the same, against what it cannot do without",
        str(took["all"] - bare),
        f"{took[scale] - bare}: {scale}",
        (took["all"] - bare) / (took[scale] - bare),
    )
    loaded = _heavy_modules()
    yield Line(
        "heavy modules that those imports load",
        ", ".join(loaded) or "none",
        f"of {len(HEAVY)}: {', '.join(sorted(HEAVY))}",
        Figure([len(loaded)], "modules"),
        must=0,
        beyond=0,
    )


def _milliseconds(code: str, folder: str) -> float:
    return 1000 * child_cpu([sys.executable, "-c", code], folder)


def _heavy_modules() -> list[str]:
    code = f"{ALL_OF_IT}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return sorted(HEAVY.intersection(done.stdout.split()))

"""A folder for state, the provider `shelf`, and programs in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from oumi_core.configs import InferenceConfig, ModelParams
from oumi_core.inference import InferenceEngine

SITE = Path(__file__).parent / "site"
"""What `pip install --target` would leave: the engine and the backend `shelf`."""

GENEROUS = 120.0
"""Seconds that nothing here comes near, unless it hangs."""


@attrs.frozen
class Bench:
    """Where a test works: a folder for state, and one that is the provider.

    Attributes:
        folder: a folder of the test's own.
        environ: for programs: with the plugin `shelf`, and the state of this test.
    """

    folder: Path
    environ: dict[str, str]

    @property
    def server(self) -> Path:
        return self.folder / "server"

    @property
    def config(self) -> InferenceConfig:
        return InferenceConfig(
            model=ModelParams(model_name="demo"), engine_args={"folder": str(self.server)}
        )

    def engine(self, **arguments: Any) -> InferenceEngine:
        """The engine `shelf`, in this process and without a plugin."""
        sys.path.insert(0, str(SITE))
        try:
            from oumi_shelf import ShelfEngine
        finally:
            sys.path.remove(str(SITE))
        more = {**self.config.engine_args, **arguments}
        return InferenceEngine(ShelfEngine, attrs.evolve(self.config, engine_args=more))

    def batches(self) -> list[Path]:
        """What was submitted to the provider."""
        return sorted((self.server / "batches").glob("*.json"))

    def change(self, path: Path, **fields: Any) -> None:
        """Change the state of what was submitted."""
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    def calls(self, name: str) -> int:
        return (self.server / "calls").read_text().split("\n").count(name)

    def python(self, program: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a program, with `shelf` installed."""
        return subprocess.run(
            [sys.executable, "-c", program],
            env=self.environ | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=GENEROUS,
            check=False,
        )


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    state = {
        "OUMI_STATE_DIR": str(tmp_path / "state"),
        "OUMI_BATCH_IDLE_SECONDS": "0.5",
        "SHELF_HOME": str(tmp_path),
    }
    for name, value in state.items():
        monkeypatch.setenv(name, value)
    paths = [str(SITE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return Bench(tmp_path, {**os.environ, **state, "PYTHONPATH": os.pathsep.join(paths)})

"""What the command line says of models and adapters that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

OUMI = Path(sys.executable).with_name("oumi")


def ask(model: Path | str, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            OUMI,
            "infer",
            "--engine",
            "llamacpp",
            "--model.model_name",
            model,
            "--prompt",
            "hi",
            *more,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"no model", "is not a GGUF file"), (b"", "GGUF"), (b"GGUF\x03\x00", "GGUF")],
)
def test_a_file_that_is_no_model_is_wrong_use(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    done = ask(path)
    assert done.returncode == 2
    assert str(path) in done.stderr
    assert says in done.stderr


def test_a_model_that_is_not_there_is_wrong_use(tmp_path: Path) -> None:
    done = ask(tmp_path / "missing.gguf")
    assert done.returncode == 2
    assert "missing.gguf" in done.stderr


def test_an_adapter_that_is_none_is_wrong_use(tmp_path: Path) -> None:
    path = tmp_path / "adapter.gguf"
    path.write_bytes(b"no adapter")
    done = ask("demo", "--model.adapter_model", str(path))
    assert done.returncode == 2
    assert "adapter" in done.stderr

"""The names under Oumi's paths are those of oumi_core, and never stand beside Oumi's own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import oumi_core.types.conversation
import pytest

if TYPE_CHECKING:
    from pathlib import Path

PATHS = {
    "oumi.inference": "oumi_core.inference",
    "oumi.core.configs": "oumi_core.configs",
    "oumi.core.types.conversation": "oumi_core.types",
    "oumi.core.types.tool_call": "oumi_core.types.tool_call",
}
RENAMED = {"Type": "ContentType"}


@pytest.mark.parametrize(("path", "home"), PATHS.items())
def test_each_name_is_the_one_of_oumi_core(path: str, home: str) -> None:
    module, source = importlib.import_module(path), importlib.import_module(home)
    assert module.__all__
    for name in module.__all__:
        assert getattr(module, name) is getattr(source, RENAMED.get(name, name))


def test_every_engine_class_of_oumi_core_has_oumis_path_too() -> None:
    import oumi_core.inference

    import oumi.inference

    names = {name for name in oumi_core.inference.__all__ if name.endswith("Engine")}
    assert names == set(oumi.inference.__all__)


def test_a_type_is_oumis_name_of_a_content_type() -> None:
    from oumi.core.types.conversation import ContentItem, Type

    assert ContentItem(type=Type.TEXT, content="hi").is_text()
    assert Type.IMAGE_URL is oumi_core.types.conversation.ContentType.IMAGE_URL


def test_importing_the_paths_loads_no_engine_and_no_network_code() -> None:
    program = (
        "import sys, oumi.inference, oumi.core.configs, oumi.core.types.conversation\n"
        "heavy = {'torch', 'xllamacpp', 'aiohttp', 'httpx', 'openai', 'pydantic', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_beside_the_distribution_oumi_the_import_says_which_to_remove(tmp_path: Path) -> None:
    metadata = tmp_path / "oumi-0.9.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: oumi\nVersion: 0.9\n")
    program = f"import sys; sys.path.append({str(tmp_path)!r}); import oumi.inference"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: oumi-compat and oumi 0.9 are both installed")
    assert "pip uninstall oumi oumi-compat" in last

"""What `oumi_core` and its packages say is public is there."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import oumi_core

MODULES = (
    "oumi_core",
    "oumi_core.batching",
    "oumi_core.configs",
    "oumi_core.data",
    "oumi_core.engine",
    "oumi_core.errors",
    "oumi_core.hookspecs",
    "oumi_core.inference",
    "oumi_core.registry",
    "oumi_core.types",
)


@pytest.mark.parametrize("name", MODULES)
def test_each_public_name_exists_and_stands_in_order(name: str) -> None:
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(set(module.__all__), key=ruff_order)
    for public in module.__all__:
        assert getattr(module, public) is not None


def ruff_order(name: str) -> tuple[int, str]:
    """Constants first, then classes, then the rest, as ruff sorts `__all__`."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_dir_shows_every_public_name() -> None:
    assert set(oumi_core.__all__) <= set(dir(oumi_core))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'get_motor'"):
        _ = oumi_core.get_motor


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = [
        "aiohttp",
        "httpx",
        "yaml",
        "pydantic",
        "numpy",
        "torch",
        "jsonschema",
        "click",
        "rich",
    ]
    program = (
        "import sys; import oumi_core; oumi_core.get_engine; oumi_core.list_engines\n"
        "import oumi_core.types, oumi_core.configs, oumi_core.wire\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"

"""One way to run LLM inference on any engine, chosen by a string.

    import oumi_core as oumi

    oumi.list_engines()
    engine = oumi.get_engine("llamacpp", model="demo")

The names below are imported when they are first used, so that `import oumi_core` costs next to
nothing and the types can be had without the engines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oumi_core.errors import (
        BatchUnfinished,
        ConfigError,
        DataError,
        EngineError,
        InferenceFailed,
        OumiError,
        PluginError,
        RunStopped,
    )
    from oumi_core.inference import InferenceEngine, get_engine
    from oumi_core.registry import list_plugins as list_engines

__all__ = [
    "BatchUnfinished",
    "ConfigError",
    "DataError",
    "EngineError",
    "InferenceEngine",
    "InferenceFailed",
    "OumiError",
    "PluginError",
    "RunStopped",
    "get_engine",
    "list_engines",
]

_HOMES = {
    "InferenceEngine": ("oumi_core.inference", "InferenceEngine"),
    "get_engine": ("oumi_core.inference", "get_engine"),
    "list_engines": ("oumi_core.registry", "list_plugins"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES.get(name, ("oumi_core.errors", name))
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""What authors of engines test with.

`EngineConformance` is what every engine has to pass; it needs the extra `testing`, which is pytest.
`FaultServer` is a server on a real socket that answers as a script says: well, badly, slowly or
not at all; the functions beside it make the lines of the script. `ScriptedEngine` is an engine that
does the same without a socket.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from oumi_core.testing.fault_server import FaultServer
from oumi_core.testing.received import Received
from oumi_core.testing.replies import (
    Ending,
    Reply,
    close_early,
    completion,
    cut_body,
    cut_stream,
    error,
    models,
    raw,
    redirect,
    slow_drip,
    stall,
    too_many,
)
from oumi_core.testing.scripted import Script, ScriptedEngine

if TYPE_CHECKING:
    from oumi_core.testing.conformance import EngineConformance

__all__ = [
    "Ending",
    "EngineConformance",
    "FaultServer",
    "Received",
    "Reply",
    "Script",
    "ScriptedEngine",
    "close_early",
    "completion",
    "cut_body",
    "cut_stream",
    "error",
    "models",
    "raw",
    "redirect",
    "slow_drip",
    "stall",
    "too_many",
]


def __getattr__(name: str) -> Any:
    """`EngineConformance`, which alone needs pytest."""
    if name != "EngineConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("oumi_core.testing.conformance").EngineConformance

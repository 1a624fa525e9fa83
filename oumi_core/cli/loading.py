"""Bring an engine up, and show on a terminal that this is what one waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oumi_core.cli.console import rich_console, shows_progress

if TYPE_CHECKING:
    from oumi_core.inference import InferenceEngine

__all__ = ["load"]


def load(engine: InferenceEngine) -> None:
    """Load the weights or open the pool.

    Raises:
        ConfigError, EngineError: it cannot be brought up.
    """
    model = engine.config.model
    if model is None or not shows_progress():
        engine.start()
        return
    with rich_console(stderr=True).status(f"loading {model.model_name} …"):
        engine.start()

"""Where programs of ours keep what they remember between runs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["make_private", "state_folder"]


def state_folder() -> Path:
    """`OUMI_STATE_DIR`; else the folder of the platform for it. It may not be there yet."""
    if folder := os.environ.get("OUMI_STATE_DIR"):
        return Path(folder)
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state) / "oumi"
    return Path.home() / ".local" / "state" / "oumi"


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are not there, for this user alone."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)

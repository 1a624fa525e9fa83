"""The words of somebody else's error, fit for a message of ours."""

from __future__ import annotations

import re

__all__ = ["said"]

_MOST = 500
_DATA = re.compile(r"data:[^\s'\"]{20,}")
_SECRETS = re.compile(r"(https?://)(?:[^\s'\"/@]*@)?([^\s'\"?]*)(?:\?[^\s'\")]*)?")


def said(error: BaseException) -> str:
    """An error in one line, without the images, passwords and signatures that it may quote."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = _DATA.sub("data:...", "; ".join(lines) or type(error).__name__)
    return _SECRETS.sub(r"\1\2", line)[:_MOST]

"""How the system says that a disk is at fault itself, and not the path to a file."""

from __future__ import annotations

import errno
from typing import Final

__all__ = ["DISK_REFUSALS"]

DISK_REFUSALS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""The numbers of errors after which the same goes on once the disk has been mended."""

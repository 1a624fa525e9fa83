"""Sees to it that vLLM's own processes end with the one that started them, and print nothing there.

vLLM ends its processes when its user closes it, or exits; but one that is killed (`kill -9`, out
of memory) leaves the engine core behind, with the model and all memory of the GPU. So the kernel
is told to end the core with its parent. That must be asked for in the core itself: vLLM loads
`follow_parent` there, as a plugin of its own (entry-point group `vllm.general_plugins`).

And what libraries of vLLM's print (torch 2.9 prints how many peers it has found) goes to stderr, as
vLLM's log does: on stdout it would stand among the answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["follow_parent", "followed"]

_VARIABLE = "OUMI_VLLM_PARENT"
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def followed() -> Iterator[None]:
    """Processes that are started in this block end with the thread that started them."""
    os.environ[_VARIABLE] = str(os.getpid())
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE, None)


def follow_parent() -> None:
    """Called by vLLM in each of its processes; does nothing unless it was asked for."""
    parent = os.environ.get(_VARIABLE)
    if parent is None or parent == str(os.getpid()):
        return
    with contextlib.suppress(OSError):  # there is no stderr
        os.dup2(2, 1)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == 1:  # it ended before the kernel was told
            os.kill(os.getpid(), signal.SIGKILL)

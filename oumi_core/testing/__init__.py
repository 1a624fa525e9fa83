"""What authors of engines test with.

`FaultServer` is a server on a real socket that answers as a script says: well, badly, slowly or
not at all. The functions beside it make the lines of the script.
"""

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

__all__ = [
    "Ending",
    "FaultServer",
    "Received",
    "Reply",
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

"""The errors for requests that got no whole answer. No message holds a path, query or header."""

from __future__ import annotations

from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind

__all__ = [
    "CONNECT_SECONDS",
    "QUIET_SECONDS",
    "broken",
    "no_connection",
    "timed_out",
    "untrusted",
    "went_quiet",
]

CONNECT_SECONDS = 10.0
"""The most that connecting to a server, its TLS handshake included, may take."""

QUIET_SECONDS = 60.0
"""The longest silence between two pieces of a stream."""


def no_connection(server: str, reason: str) -> EngineError:
    """Nothing was sent: the server cannot be reached."""
    return EngineError(
        Failure(FailureKind.TRANSIENT, f"no connection to {server}: {reason or 'it failed'}")
    )


def untrusted(server: str, reason: str) -> EngineError:
    """Nothing was sent: who answers there cannot prove to be the server."""
    return EngineError(
        Failure(
            FailureKind.ENGINE_DEAD,
            f"no trusted connection to {server}: {reason}; name the authority that signed its "
            "certificate in engine_args.ca_file",
        )
    )


def timed_out(server: str, seconds: float) -> EngineError:
    """The whole request took too long; the server may have done the work."""
    return EngineError(
        Failure(
            FailureKind.TIMEOUT,
            f"{server} gave no whole answer within {seconds:g} s "
            "(remote_params.connection_timeout)",
        )
    )


def went_quiet(server: str) -> EngineError:
    """A stream stopped coming, though its connection is open."""
    return EngineError(
        Failure(
            FailureKind.TIMEOUT, f"{server} sent nothing for {QUIET_SECONDS:g} s inside its answer"
        )
    )


def broken(server: str, reason: str) -> EngineError:
    """The connection ended before the answer did."""
    return EngineError(
        Failure(FailureKind.TRANSIENT, f"the connection to {server} broke: {reason}")
    )

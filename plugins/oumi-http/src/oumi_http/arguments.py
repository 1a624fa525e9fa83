"""`engine_args`: what can be said about the connection, checked."""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError

from oumi_http.quirks import Quirks, header_faults, read_quirks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Arguments", "FindFaults", "read_arguments"]

FindFaults = Callable[[Any], Iterable[str]]
"""Says what is wrong with the value of an argument: the ends of lines that begin with its name."""

_WHERE = "engine_args"


@attrs.frozen
class Arguments:
    """What `engine_args` may hold.

    Attributes:
        verify: check the server's certificate; default true. False lets anyone in between read
            the key.
        ca_file: a PEM file of more authorities to trust, beside the system's.
        client_cert: a PEM file with the certificate, and perhaps the key, to show to the server.
        client_key: a PEM file with the key of `client_cert`, without a passphrase.
        headers: sent with each request. Not the place of a key.
        allowed_media_path: the folder out of which images that rows name by path may be read;
            by default none may.
        http_client: an `httpx.AsyncClient` or `httpx2.AsyncClient` to send with, in place of this
            package's own pool. It is not closed, and must not be used on another event loop.
        quirks: in what the server differs; see `Quirks`.
        own: what the engine's class takes beside these (`own_arguments`), by name.
    """

    verify: bool = True
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    allowed_media_path: Path | None = None
    http_client: Any = None
    quirks: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    own: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    def tls(self) -> ssl.SSLContext:
        """The context of all connections; reads the files.

        Raises:
            ConfigError: a file holds no certificate or key.
        """
        context = ssl.create_default_context()
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            if self.ca_file is not None:
                context.load_verify_locations(self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{_WHERE}.ca_file: cannot be used: {_reason(error)}") from error
        try:
            if self.client_cert is not None:
                # Without a password function OpenSSL would ask for a passphrase on the terminal.
                context.load_cert_chain(self.client_cert, self.client_key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{_WHERE}.client_cert: cannot be used: {_reason(error)}") from error
        return context

    def read_quirks(self) -> Quirks:
        """The quirks, checked.

        Raises:
            ConfigError: lists every fault.
        """
        return read_quirks(self.quirks, f"{_WHERE}.quirks")


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__


def read_arguments(
    given: Mapping[str, Any], own: Mapping[str, FindFaults] | None = None
) -> Arguments:
    """Check `engine_args`.

    Args:
        given: as it was written.
        own: what the engine's class takes beside `Arguments`: names, and what finds their faults.

    Raises:
        ConfigError: lists every name that is unknown and every value that cannot be.
    """
    known = {**_FAULTS, **(own or {})}
    faults: list[str] = []
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            faults.append(f"{_WHERE}.{name}: unknown; {hint}")
        elif value is not None:
            found = list(known[name](value))
            faults.extend(f"{_WHERE}.{name}{fault}" for fault in found)
            if not found:
                values[name] = _READERS[name](value) if name in _READERS else value
    if "client_key" in values and "client_cert" not in values:
        faults.append(f"{_WHERE}.client_key: needs client_cert")
    if faults:
        raise ConfigError(*faults)
    of_class = {name: values.pop(name) for name in own or () if name in values}
    return Arguments(**values, own=of_class)


def _boolean_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, bool):
        yield ": must be true or false (the path of a CA file goes into ca_file)"


def _file_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, str | Path) or not Path(value).expanduser().is_file():
        yield ": must be the path of a file that exists"


def _folder_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, str | Path) or not Path(value).expanduser().is_dir():
        yield ": must be the path of a folder that exists"


def _table_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield ": must be a table"


def _client_faults(value: Any) -> Iterator[str]:
    if not callable(getattr(value, "send", None)) or not hasattr(value, "build_request"):
        yield ": must be an httpx.AsyncClient or httpx2.AsyncClient"


def _path(value: str | Path) -> Path:
    return Path(value).expanduser().resolve()


_FAULTS: Mapping[str, FindFaults] = {
    "verify": _boolean_faults,
    "ca_file": _file_faults,
    "client_cert": _file_faults,
    "client_key": _file_faults,
    "headers": header_faults,
    "allowed_media_path": _folder_faults,
    "http_client": _client_faults,
    "quirks": _table_faults,
}
_READERS: Mapping[str, Callable[[Any], Any]] = {
    name: _path for name in _FAULTS if name.endswith(("_file", "_cert", "_key", "_path"))
}

"""Providers: engines that are data, rows of a `providers.toml` that run on the engine `remote`.

A distribution announces them by an entry point in the group `oumi.providers`, whose value is a
package (not a module) that holds the file. The package is located, never imported:

    [[providers]]
    name = "acme"                               # what users write: `engine: acme`
    base_url = "https://api.acme.example/v1"
    api_key_env = "ACME_API_KEY"                # the *name* of a variable; left out: no key is sent
    model = "acme-large"                        # used where the config names none; may be left out
    docs = "https://acme.example/docs"          # may be left out
    [providers.quirks]                          # read by oumi-http, which documents them
    max_tokens_field = "max_tokens"
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from oumi_core.plugin_names import normalise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["PROVIDERS_FILE", "PROVIDERS_GROUP", "Provider", "ProviderRow", "read_providers"]

PROVIDERS_GROUP: Final = "oumi.providers"
"""The entry-point group of packages that hold a `PROVIDERS_FILE`."""

PROVIDERS_FILE: Final = "providers.toml"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen
class Provider:
    """A server that the engine `remote` can reach, as its row describes it.

    Attributes:
        name: the name that users write.
        base_url: where its API begins, such as `https://api.acme.example/v1`.
        api_key_env: the environment variable that holds the key; None if it needs none.
        model: the model that is asked for where the config names none; None if there is none.
        docs: the address of its documentation; None if the row has none.
        quirks: in what it differs from other servers, in the terms of oumi-http.
        source: the distribution and version that the row came with, such as `acme-data 1.0`.
    """

    name: str
    base_url: str
    api_key_env: str | None = None
    model: str | None = None
    docs: str | None = None
    quirks: Mapping[str, Any] = attrs.field(factory=dict)
    source: str = ""


@attrs.frozen
class ProviderRow:
    """One row as it was read: a provider, or what is wrong with it.

    Attributes:
        name: the row's name; None if it has none, or if the file could not be read at all.
        provider: the provider; None if the row is faulty.
        fault: file, row and what is wrong there; None if nothing is.
    """

    name: str | None
    provider: Provider | None = None
    fault: str | None = None


def read_providers(package: str, *, source: str) -> tuple[ProviderRow, ...]:
    """Read the `providers.toml` of a package without importing the package.

    Args:
        package: its dotted name.
        source: the distribution and version that announced it, kept in each `Provider`.

    Returns:
        One row for each of the file, in its order; or one row that holds the fault if there is no
        file to be read. A faulty row leaves the others usable.
    """
    import tomllib  # noqa: PLC0415 - import on use: few programs have providers installed

    try:
        path = _locate(package)
    except _NotLocatedError as error:
        return (ProviderRow(None, fault=str(error)),)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: neither TOML nor UTF-8
        return (ProviderRow(None, fault=f"{path}: {error}"),)

    rows = table.pop("providers", None)
    if table or not isinstance(rows, list):
        extra = f", and not {', '.join(sorted(table))}" if table else ""
        fault = f"{path}: must hold tables [[providers]] and nothing else{extra}"
        return (ProviderRow(None, fault=fault),)
    return tuple(_read_rows(rows, path, source))


class _NotLocatedError(Exception):
    """There is no such package, or it holds no `providers.toml`."""


def _locate(package: str) -> Path:
    """Find the file. Only the top-level name is looked up: finding a child imports its parent."""
    from importlib.util import find_spec  # noqa: PLC0415 - import on use, as tomllib above

    top, *rest = package.strip().split(".")
    try:
        spec = find_spec(top) if top.isidentifier() else None
    except (ImportError, ValueError) as error:  # a broken finder; a module without a spec
        raise _NotLocatedError(f"package '{package}' cannot be located: {error}") from error
    if spec is None or not spec.submodule_search_locations:
        raise _NotLocatedError(f"package '{package}' cannot be located")
    candidates = [Path(place, *rest, PROVIDERS_FILE) for place in spec.submodule_search_locations]
    for path in candidates:
        if path.is_file():
            return path
    raise _NotLocatedError(f"{candidates[0]}: there is no such file")


def _read_rows(rows: list[Any], path: Path, source: str) -> Iterator[ProviderRow]:
    names = [normalise(str(row.get("name"))) for row in rows if isinstance(row, dict)]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            yield ProviderRow(None, fault=f"{path}: row {number}: must be a table")
            continue
        name = row.get("name", "")
        faults = list(_faults(row))
        if not faults and names.count(normalise(name)) > 1:
            faults.append(f"name: used by {names.count(normalise(name))} rows of this file")
        if not faults:
            yield ProviderRow(name, provider=Provider(**row, source=source))
            continue
        named = isinstance(name, str) and _NAME.fullmatch(name)
        title = f"row {number} ('{name}')" if named else f"row {number}"
        yield ProviderRow(name if named else None, fault=f"{path}: {title}: {'; '.join(faults)}")


def _faults(row: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a row. No value is quoted: it may be a key in the wrong place."""
    for field in sorted(row.keys() - set(_FIELDS)):
        yield f"{field}: unknown; the fields are {', '.join(_FIELDS)}"
    for field in ("name", "base_url"):
        if field not in row:
            yield f"{field}: is missing"
    if not isinstance(row.get("quirks", {}), dict):
        yield "quirks: must be a table"
    for field, fault in _TEXTS.items():
        if field not in row:
            continue
        if not isinstance(row[field], str) or not row[field]:
            yield f"{field}: must be a text that is not empty"
        else:
            yield from (f"{field}: {what}" for what in fault(row[field]))


def _name_faults(name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "must be made of letters, digits, '.', '_' and '-'"


def _variable_faults(variable: str) -> Iterator[str]:
    if not _VARIABLE.fullmatch(variable):
        yield "must be the name of an environment variable, not the key itself"


def _url_faults(url: str) -> Iterator[str]:
    from urllib.parse import urlsplit  # noqa: PLC0415 - import on use, as tomllib above

    try:
        parts = urlsplit(url)
    except ValueError:
        yield "is no URL"
        return
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        yield "must start with https:// or http:// and a host"
    if parts.username or parts.password:
        yield "must hold no user name or password"


def _no_faults(_: str) -> Iterator[str]:
    return iter(())


_TEXTS: Final[Mapping[str, Callable[[str], Iterator[str]]]] = {
    "name": _name_faults,
    "base_url": _url_faults,
    "api_key_env": _variable_faults,
    "model": _no_faults,
    "docs": _url_faults,
}
_FIELDS: Final = (*_TEXTS, "quirks")

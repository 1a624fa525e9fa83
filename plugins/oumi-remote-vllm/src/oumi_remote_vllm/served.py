"""What a server serves, and which of it a config means."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Served", "served_adapter", "served_model", "served_models"]

_SHOWN = 8
"""Names that an error lists."""


@attrs.frozen
class Served:
    """One entry of a server's list of models.

    Attributes:
        name: what requests call it.
        root: the repository or folder that it was loaded from; None if the server does not say.
        parent: the model that it is an adapter of; None if it is none.
        max_tokens: the most tokens of prompt and answer together; None if the server does not say.
    """

    name: str
    root: str | None = None
    parent: str | None = None
    max_tokens: int | None = None


def served_models(data: Any) -> list[Served] | None:
    """The entries of the decoded answer to `GET /models`; None if it is no such list."""
    listed = data.get("data") if isinstance(data, dict) else None
    return list(_entries(listed)) if isinstance(listed, list) else None


def _entries(listed: list[Any]) -> Iterator[Served]:
    for entry in listed:
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            texts = {
                name: value if isinstance(value := entry.get(name), str) else None
                for name in ("root", "parent")
            }
            tokens = entry.get("max_model_len")
            stated = type(tokens) is int and tokens > 1  # -1 or 0 is none, of some gateways
            yield Served(entry["id"], **texts, max_tokens=tokens if stated else None)


def served_model(listed: Sequence[Served], name: str, server: str) -> Served:
    """The entry that `model.model_name` means: by its name, else by what it was loaded from.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    found = _find(listed, name)
    if found is None:
        raise ConfigError(
            f"model.model_name: {server} does not serve {name!r}{_hint(listed, name)}"
        )
    return found


def served_adapter(listed: Sequence[Served], base: Served, name: str, server: str) -> Served | None:
    """The entry that `model.adapter_model` means, found as `served_model` does; None if none.

    Raises:
        ConfigError: it is no adapter of `base`.
    """
    where = "model.adapter_model"
    if base.parent is not None:
        raise ConfigError(
            f"{where}: model.model_name {base.name!r} is itself an adapter of {base.parent!r} on "
            f"{server}; leave adapter_model out, or name {base.parent!r} as the model"
        )
    found = _find(listed, name)
    if found is None:
        return None
    if found.parent is None:
        raise ConfigError(f"{where}: on {server} {name!r} is a model, not an adapter")
    parent = _find(listed, found.parent)
    # A model may be served under several names; they have one root.
    if parent is not None and parent.root != base.root:
        raise ConfigError(
            f"{where}: on {server} {name!r} is an adapter of {found.parent!r}, not of {base.name!r}"
        )
    return found


def _find(listed: Sequence[Served], name: str) -> Served | None:
    by_name = next((one for one in listed if one.name == name), None)
    if by_name is not None:
        return by_name
    wanted = _place(name)
    return next((one for one in listed if one.root and _place(one.root) == wanted), None)


def _place(path: str) -> str:
    """A repository as it is; a folder that is there, in one spelling."""
    expanded = os.path.expanduser(path)  # noqa: PTH111 - a repository's name must stay as it is
    return os.path.realpath(expanded) if os.path.isdir(expanded) else path.rstrip("/")  # noqa: PTH112 - as above


def _hint(listed: Sequence[Served], name: str) -> str:
    names = [one.name for one in listed]
    if not names:
        return "; it lists no models"
    near = difflib.get_close_matches(name, names, n=1)
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"; did you mean {near[0]!r}?" if near else f"; it serves {shown}"

"""The API key: where it comes from, and the header that it goes into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_core.configs import RemoteParams

__all__ = ["auth_headers", "find_key"]


def find_key(
    params: RemoteParams,
    environ: Mapping[str, str],
    *,
    variable: str | None = None,
    required: bool = True,
) -> str | None:
    """The key to send; None if there is none and none is needed.

    The first that is given: `remote_params.api_key`; the variable that
    `remote_params.api_key_env_varname` names; the engine's or provider's own variable.

    Args:
        params: the user's.
        environ: the environment.
        variable: the engine's or provider's own variable; None if it has none.
        required: whether that variable must be set. One that the user names always must.

    Raises:
        ConfigError: the variable is not set, or the key cannot stand in a header. Names the
            variable, never the key.
    """
    if params.api_key is not None:
        return _clean(params.api_key, "remote_params.api_key")
    chosen = params.api_key_env_varname or variable
    if chosen is None:
        return None
    key = environ.get(chosen, "").strip()
    if key:
        return _clean(key, f"the environment variable {chosen}")
    if params.api_key_env_varname is None and not required:
        return None
    raise ConfigError(
        f"no API key: the environment variable {chosen} is not set; set it, or give "
        "remote_params.api_key or remote_params.api_key_env_varname"
    )


def auth_headers(key: str | None, header: str = "Authorization") -> dict[str, str]:
    """The header that carries the key: as a bearer token in `Authorization`, bare in any other."""
    if key is None:
        return {}
    return {header: f"Bearer {key}" if header.lower() == "authorization" else key}


def _clean(key: str, where: str) -> str:
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"{where}: is empty or holds characters that no key has; was it copied whole?"
        )
    return key

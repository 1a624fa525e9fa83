"""What the registry answers with: a line of its listing, and a plugin that was asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from oumi_core.providers import Provider

__all__ = ["Found", "PluginInfo", "PluginState"]


class PluginState(StrEnum):
    """What can be said of a plugin without loading it."""

    AVAILABLE = "available"
    """It can be asked for. Whether it then loads, only loading shows: see `oumi_core.probe`."""
    DISABLED = "disabled"
    """An environment variable switches it off."""
    CLASH = "clash"
    """Another distribution announces the same name; only `distribution:name` works."""
    BROKEN = "broken"
    """It is a provider, and its row in `providers.toml` cannot be used."""


@attrs.frozen
class PluginInfo:
    """One line of the listing: a name that one distribution announces.

    Attributes:
        name: the name to ask for.
        kind: `engine`, `guided-decoder`, `batch-backend` or `retry-policy`.
        distribution: who announces it.
        version: the distribution's version.
        state: what is known without loading it.
        entry_point: the module with its hooks; the package with its row, if it is a provider.
        provider: the row, if it is a provider that can be used.
        reason: why it is not available, in one line; None if it is.
    """

    name: str
    kind: str
    distribution: str
    version: str
    state: PluginState
    entry_point: str
    provider: Provider | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The line as JSON-ready data; of a provider, its base URL and the name of its variable."""
        fields = attrs.asdict(self, filter=lambda attribute, _: attribute.name != "provider")
        fields["state"] = self.state.value
        row = self.provider
        fields["provider"] = row and {"base_url": row.base_url, "api_key_env": row.api_key_env}
        return fields


@attrs.frozen
class Found:
    """A plugin that was asked for and loaded.

    Attributes:
        cls: the class, checked: an engine's is a subclass of `Engine` of a contract that is served.
        name: the name that was asked for, normalised, without a distribution.
        distribution: the distribution that the class comes from.
        version: its version.
        provider: the row that named it, if it is a provider; `cls` is then the engine `remote`.
        unknown_hooks: marked functions of the plugin's module that this core has no hook for.
    """

    cls: type[Any]
    name: str
    distribution: str
    version: str
    provider: Provider | None = None
    unknown_hooks: tuple[str, ...] = ()

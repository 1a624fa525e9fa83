"""What the installed distributions say they offer, read from their metadata alone.

Nothing here imports a plugin. `importlib.metadata` is imported on the first scan: it costs about
50 ms, which a program that names no plugin need not pay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from oumi_core.plugin_names import BUILT_IN, BUILT_IN_MODULE, CORE, canonical, normalise
from oumi_core.providers import PROVIDERS_GROUP, read_providers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import Distribution

    from oumi_core.providers import Provider

__all__ = [
    "BATCH_BACKEND",
    "ENGINE",
    "GUIDED_DECODER",
    "KINDS",
    "RETRY_POLICY",
    "Announced",
    "Kind",
    "scan_installed",
]


@attrs.frozen
class Kind:
    """One of the things that can be plugged in.

    Attributes:
        name: names the kind on a command line and in JSON.
        label: names it in a sentence.
        group: the entry-point group in which a distribution announces it.
        hook: the hook by which the announced module offers it; see `oumi_core.hookspecs`.
    """

    name: str
    label: str
    group: str
    hook: str


ENGINE: Final = Kind("engine", "engine", "oumi.engines", "oumi_engines")
GUIDED_DECODER: Final = Kind(
    "guided-decoder", "guided decoder", "oumi.guided_decoding", "oumi_guided_decoders"
)
BATCH_BACKEND: Final = Kind(
    "batch-backend", "batch backend", "oumi.batching", "oumi_batch_backends"
)
RETRY_POLICY: Final = Kind(
    "retry-policy", "retry policy", "oumi.retry_policies", "oumi_retry_policies"
)
KINDS: Final = (ENGINE, GUIDED_DECODER, BATCH_BACKEND, RETRY_POLICY)


@attrs.frozen
class Announced:
    """One name that one distribution says it offers.

    Attributes:
        kind: what it is said to be.
        name: the name that users write, normalised.
        distribution: the distribution's name as it spells it.
        version: its version.
        value: the entry point's value: a module with hooks, or a package with a `providers.toml`.
        entry_name: the entry point's name, normalised. Differs from `name` for a provider, of
            which one entry point brings many.
        provider: the row, if it is a provider.
        fault: what is wrong with the row, if it is a provider that cannot be used.
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    value: str
    entry_name: str
    provider: Provider | None = None
    fault: str | None = None

    @property
    def qualified(self) -> str:
        """The form that means this one alone: `distribution:name`."""
        return f"{self.distribution}:{self.name}"

    @property
    def origin(self) -> str:
        """The distribution and its version, for messages."""
        return f"{self.distribution} {self.version}"

    @property
    def title(self) -> str:
        """What it is and whose, for messages."""
        return f"{self.kind.label} '{self.name}' of {self.origin}"


def scan_installed() -> tuple[Announced, ...]:
    """Everything that is built in or announced by an installed distribution, in no order.

    A distribution that lies on `sys.path` twice counts once, as the one that imports would find.
    """
    return (*_built_in(), *(one for dist in _plugins() for one in _announced_by(dist)))


def _built_in() -> Iterator[Announced]:
    from importlib.metadata import (  # noqa: PLC0415 - import on use: the cost of a scan
        PackageNotFoundError,
        version,
    )

    try:
        core_version = version(CORE)
    except PackageNotFoundError:  # run from a source tree that is not installed
        core_version = "(source)"
    for kind in KINDS:
        for name in BUILT_IN.get(kind.group, ()):
            yield Announced(kind, name, CORE, core_version, BUILT_IN_MODULE, name)


def _plugins() -> Iterator[Distribution]:
    """The distributions that announce something, each once.

    The raw text is searched first: parsing the entry points of all distributions, or even
    their names, takes most of the time of a scan where hundreds are installed.
    """
    from importlib.metadata import (  # noqa: PLC0415 - import on use: the cost of a scan
        PackageNotFoundError,
        distribution,
        distributions,
    )

    seen: set[str] = set()
    for dist in distributions():
        if "[oumi." not in (dist.read_text("entry_points.txt") or ""):
            continue
        name = dist.metadata["Name"]
        if not name or canonical(name) in seen:
            continue
        seen.add(canonical(name))
        try:
            # The first on `sys.path` by that name, which may announce other things, or nothing.
            yield distribution(name)
        except PackageNotFoundError:  # a leftover of an interrupted uninstall: `~name.dist-info`
            continue


def _announced_by(dist: Distribution) -> Iterator[Announced]:
    kinds = {kind.group: kind for kind in KINDS}
    metadata = dist.metadata
    name, version = metadata["Name"], metadata["Version"] or "(no version)"
    for entry in dist.entry_points:
        entry_name = normalise(entry.name)
        if entry.group in kinds:
            yield Announced(kinds[entry.group], entry_name, name, version, entry.value, entry_name)
        elif entry.group == PROVIDERS_GROUP:
            for row in read_providers(entry.value, source=f"{name} {version}"):
                yield Announced(
                    kind=ENGINE,
                    name=normalise(row.name or entry.name),
                    distribution=name,
                    version=version,
                    value=entry.value,
                    entry_name=entry_name,
                    provider=row.provider,
                    fault=row.fault,
                )

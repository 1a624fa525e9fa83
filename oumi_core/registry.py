"""The registry: a name -> an entry point -> a class.

    list_plugins()                # what is installed, from metadata alone; imports no plugin
    find(ENGINE, "vllm").cls      # loads that one plugin and no other

Names are compared in lower case with '_' as '-'. Where two distributions announce one name,
neither wins: `distribution:name` picks one. The names that are built into oumi-core are announced
by it, so a third party that announces one of them clashes with it. `OUMI_PLUGINS` and
`OUMI_DISABLE_PLUGINS` switch plugins off before they are imported (see
`oumi_core.plugin_switches`); they are read at each call.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from typing import TYPE_CHECKING

import attrs

from oumi_core.announcements import (
    BATCH_BACKEND,
    ENGINE,
    GUIDED_DECODER,
    KINDS,
    RETRY_POLICY,
    Announced,
    Kind,
    scan_installed,
)
from oumi_core.errors import ConfigError, PluginError
from oumi_core.plugin_info import Found, PluginInfo, PluginState
from oumi_core.plugin_loading import PluginLoader
from oumi_core.plugin_names import ENGINE_ALIASES, ENGINE_REQUIREMENTS, REMOTE, canonical, normalise
from oumi_core.plugin_switches import DENY_VARIABLE, Switches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oumi_core.providers import Provider

__all__ = [
    "BATCH_BACKEND",
    "ENGINE",
    "GUIDED_DECODER",
    "KINDS",
    "RETRY_POLICY",
    "Found",
    "Kind",
    "PluginInfo",
    "PluginState",
    "Registry",
    "default_registry",
    "find",
    "list_plugins",
]


class Registry:
    """Finds plugins by name. Metadata is read on first use, not when a registry is made.

    May be used from several threads.

    Args:
        scan: gives everything that is announced; by default what is installed.
        environ: where the two switches are read; by default the environment of the process.
    """

    def __init__(
        self,
        scan: Callable[[], Sequence[Announced]] = scan_installed,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._scan = scan
        self._environ = os.environ if environ is None else environ
        self._scanned: Sequence[Announced] | None = None
        self._loader = PluginLoader()
        self._lock = threading.RLock()  # re-entered if a plugin asks for another on import

    def list_plugins(self, kind: Kind = ENGINE) -> tuple[PluginInfo, ...]:
        """Everything of one kind that is announced, by name. Imports no plugin.

        Raises:
            ConfigError: an item of `OUMI_PLUGINS` or `OUMI_DISABLE_PLUGINS` matches nothing.
        """
        with self._lock:
            switches = self._switches()
            announced = [one for one in self._announced() if one.kind == kind]
        return tuple(_info(one, announced, switches) for one in announced)

    def lookup(self, kind: Kind, name: str) -> tuple[PluginInfo, ...]:
        """The lines of the listing that a name means: none, one, or more if it clashes.

        Raises:
            ConfigError: as `list_plugins`.
        """
        with self._lock:
            meant = {(one.name, one.distribution) for one in self._candidates(kind, name)}
            listed = self.list_plugins(kind)
        return tuple(info for info in listed if (info.name, info.distribution) in meant)

    def find(self, kind: Kind, name: str) -> Found:
        """Load the one plugin of that name.

        Args:
            kind: what is looked for, such as `ENGINE`.
            name: in any case, with '-' or '_'; or `distribution:name`.

        Raises:
            ConfigError: the name is empty, or a switch matches nothing.
            PluginError: there is no such plugin, more than one, or it cannot be used; the message
                says what to install, to choose or to repair.
        """
        if not name.strip():
            raise self.unnamed(kind)
        with self._lock:
            one = self._choose(kind, name)
            if one.provider is not None:
                return self._find_provider(one, one.provider)
            loaded = self._loader.load(one)
        return Found(
            cls=loaded.cls,
            name=one.name,
            distribution=one.distribution,
            version=one.version,
            unknown_hooks=loaded.unknown_hooks,
        )

    def unnamed(self, kind: Kind = ENGINE) -> ConfigError:
        """The error to raise where the user has named none: it lists what is installed."""
        how = "give `engine:` in the config, or --engine; " if kind == ENGINE else ""
        return ConfigError(f"no {kind.label} is named; {how}{self._there_is(kind)}")

    def _find_provider(self, one: Announced, provider: Provider) -> Found:
        title = f"engine '{one.name}' (a provider from {one.distribution})"
        if not self._candidates(ENGINE, REMOTE):
            raise PluginError(
                f"{title} needs: pip install {ENGINE_REQUIREMENTS[REMOTE]}", name=one.name
            )
        try:
            remote = self.find(ENGINE, REMOTE)
        except PluginError as error:
            raise PluginError(f"{title} runs on '{REMOTE}': {error}", name=one.name) from error
        return attrs.evolve(remote, name=one.name, provider=provider)

    def _choose(self, kind: Kind, name: str) -> Announced:
        """The one announcement that a name means and that may be used."""
        switches = self._switches()
        candidates = self._candidates(kind, name)
        if not candidates:
            raise self._unknown(kind, name)
        enabled = [one for one in candidates if not switches.disabled_by(one)]
        if not enabled:
            raise PluginError(
                "; ".join(
                    f"{one.title} is disabled: {switches.disabled_by(one)}" for one in candidates
                ),
                name=candidates[0].name,
            )
        if len(enabled) > 1:
            raise _clash(enabled)
        if enabled[0].fault is not None:
            raise PluginError(
                f"{enabled[0].title} cannot be used: {enabled[0].fault}", name=enabled[0].name
            )
        return enabled[0]

    def _candidates(self, kind: Kind, name: str) -> list[Announced]:
        """Everything that a name may mean, whether it may be used or not."""
        found = self._matches(kind, name)
        if not found:
            # Perhaps it was installed since, which a notebook should not have to restart for.
            self._scanned = None
            importlib.invalidate_caches()
            found = self._matches(kind, name)
        return found

    def _matches(self, kind: Kind, name: str) -> list[Announced]:
        distribution, _, plain = name.rpartition(":")
        wanted = normalise(plain)
        of_kind = [
            one
            for one in self._announced()
            if one.kind == kind
            and (not distribution or canonical(one.distribution) == canonical(distribution))
        ]
        found = [one for one in of_kind if one.name == wanted]
        if not found and kind == ENGINE:
            found = [one for one in of_kind if one.name == ENGINE_ALIASES.get(wanted)]
        return found

    def _announced(self) -> Sequence[Announced]:
        if self._scanned is None:
            self._scanned = sorted(
                self._scan(), key=lambda one: (one.name, canonical(one.distribution))
            )
        return self._scanned

    def _switches(self) -> Switches:
        switches = Switches.read(self._environ)
        switches.check(self._announced())
        return switches

    def _unknown(self, kind: Kind, name: str) -> PluginError:
        distribution, _, plain = name.rpartition(":")
        wanted = normalise(plain)
        known = ENGINE_REQUIREMENTS if kind == ENGINE else {}
        if distribution:
            others = self._candidates(kind, plain)
            forms = ", ".join(f"'{one.qualified}'" for one in others)
            hint = f"; there is {forms}" if others else ""
            message = f"{distribution} offers no {kind.label} '{wanted}'{hint}"
        elif requirement := known.get(wanted):
            return PluginError(
                f"{kind.label} '{wanted}' needs: pip install {requirement}", name=wanted
            )
        elif ENGINE_ALIASES.get(wanted, wanted) in known:
            message = f"no plugin for {kind.label} '{wanted}' is known to this version of oumi-core"
        else:
            message = f"there is no {kind.label} '{wanted}'{self._near(kind, wanted, known)}"
        return PluginError(f"{message}; {self._there_is(kind)}", name=wanted)

    def _near(self, kind: Kind, wanted: str, known: Mapping[str, str | None]) -> str:
        """The nearest names among those that are installed or can be."""
        from difflib import get_close_matches  # noqa: PLC0415 - import on use: only on an error

        names = {name: f" (pip install {needs})" for name, needs in known.items() if needs}
        names |= {one.name: "" for one in self._announced() if one.kind == kind}
        near = [f"'{name}'{names[name]}" for name in get_close_matches(wanted, names, n=3)]
        return f"; did you mean {' or '.join(near)}?" if near else ""

    def _there_is(self, kind: Kind) -> str:
        """What is installed, and what of it cannot be used: the end of a message."""
        listed = self.list_plugins(kind)
        names = {
            state: sorted({info.name for info in listed if info.state is state})
            for state in PluginState
        }
        text = f"installed: {', '.join(names.pop(PluginState.AVAILABLE)) or 'none'}"
        return text + "".join(f"; {state}: {', '.join(of)}" for state, of in names.items() if of)


def _info(one: Announced, of_kind: Sequence[Announced], switches: Switches) -> PluginInfo:
    state, reason = PluginState.AVAILABLE, None
    rivals = [
        other.origin
        for other in of_kind
        if other.name == one.name and other is not one and not switches.disabled_by(other)
    ]
    if disabled_by := switches.disabled_by(one):
        state, reason = PluginState.DISABLED, disabled_by
    elif one.fault:
        state, reason = PluginState.BROKEN, one.fault
    elif rivals:
        state = PluginState.CLASH
        reason = f"{', '.join(rivals)} announces it too; ask for '{one.qualified}'"
    return PluginInfo(
        name=one.name,
        kind=one.kind.name,
        distribution=one.distribution,
        version=one.version,
        state=state,
        entry_point=one.value,
        provider=one.provider,
        reason=reason,
    )


def _clash(rivals: Sequence[Announced]) -> PluginError:
    who = " and ".join(one.origin for one in rivals)
    forms = dict.fromkeys(one.qualified for one in rivals)
    title = f"{rivals[0].kind.label} '{rivals[0].name}' is announced by {who}"
    if len(forms) == len(rivals):
        ways = " or ".join(f"'{form}'" for form in forms)
        message = f"{title}; ask for {ways}, or turn one off with {DENY_VARIABLE}"
    else:
        message = f"{title}: twice by the same one, whose authors must choose"
    return PluginError(message, name=rivals[0].name)


@functools.cache
def default_registry() -> Registry:
    """The registry of this process: what is installed, under the switches of its environment."""
    return Registry()


def list_plugins(kind: Kind = ENGINE) -> tuple[PluginInfo, ...]:
    """`Registry.list_plugins` of the registry of this process."""
    return default_registry().list_plugins(kind)


def find(kind: Kind, name: str) -> Found:
    """`Registry.find` of the registry of this process."""
    return default_registry().find(kind, name)

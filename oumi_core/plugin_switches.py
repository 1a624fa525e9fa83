"""`OUMI_PLUGINS` and `OUMI_DISABLE_PLUGINS`: which plugins may be used, decided before any import.

Both hold items separated by commas. An item is the name of a distribution, of an entry point or of
a provider, or `distribution:name`.

- `OUMI_PLUGINS` allows: with it, third-party plugins that it does not name are disabled; set but
  empty it disables all of them. What is built into oumi-core stays.
- `OUMI_DISABLE_PLUGINS` denies, and wins. It can name what is built in, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from oumi_core.errors import ConfigError
from oumi_core.plugin_names import CORE, canonical, normalise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from oumi_core.announcements import Announced

__all__ = ["ALLOW_VARIABLE", "DENY_VARIABLE", "Switches"]

ALLOW_VARIABLE: Final = "OUMI_PLUGINS"
DENY_VARIABLE: Final = "OUMI_DISABLE_PLUGINS"


@attrs.frozen
class Switches:
    """The two variables, read.

    Attributes:
        allow: the items of `OUMI_PLUGINS`; None if it is not set.
        deny: the items of `OUMI_DISABLE_PLUGINS`.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Switches:
        """Read both variables out of an environment."""
        allow = environ.get(ALLOW_VARIABLE)
        return cls(
            allow=None if allow is None else _items(allow),
            deny=_items(environ.get(DENY_VARIABLE, "")),
        )

    def disabled_by(self, announced: Announced) -> str | None:
        """The variable that disables it, as a clause of a sentence; None if nothing does."""
        tags = _tags(announced)
        if not tags.isdisjoint(map(_tag, self.deny)):
            return f"{DENY_VARIABLE} names it"
        if self.allow is None or announced.distribution == CORE:
            return None
        if not tags.isdisjoint(map(_tag, self.allow)):
            return None
        return f"{ALLOW_VARIABLE} is set and does not name it"

    def check(self, announced: Iterable[Announced]) -> None:
        """Make sure that every item means something.

        Raises:
            ConfigError: some items match nothing; one fault for each.
        """
        if not self.allow and not self.deny:
            return
        known: set[str] = set()
        for one in announced:
            known |= _tags(one)
        faults = [
            *_unmatched(ALLOW_VARIABLE, self.allow or (), known),
            *_unmatched(DENY_VARIABLE, self.deny, known),
        ]
        if faults:
            raise ConfigError(*faults)


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _tag(item: str) -> str:
    """An item as it is compared. In a bare one '.' must stay apart from '-': it may be a name."""
    distribution, colon, name = item.rpartition(":")
    return f"{canonical(distribution)}:{normalise(name)}" if colon else normalise(item)


def _tags(announced: Announced) -> set[str]:
    """Every item that means this announcement."""
    distribution = canonical(announced.distribution)
    names = {announced.name, announced.entry_name}
    return {
        distribution,
        normalise(announced.distribution),
        *names,
        *(f"{distribution}:{name}" for name in names),
    }


def _unmatched(variable: str, items: Iterable[str], known: set[str]) -> Iterator[str]:
    from difflib import get_close_matches  # noqa: PLC0415 - import on use: only with switches set

    for item in items:
        if _tag(item) in known:
            continue
        near = get_close_matches(_tag(item), known, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        there = ", ".join(sorted(tag for tag in known if ":" not in tag))
        yield f"{variable}: '{item}' is no installed plugin{hint}; there are: {there}"

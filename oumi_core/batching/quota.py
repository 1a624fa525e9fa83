"""The quota of tokens that may wait at a provider: it splits a batch, and holds parts back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oumi_core.batching.backend import BatchBackend, Batching
    from oumi_core.batching.records import PartRecord
    from oumi_core.run.plan import Plan

__all__ = ["BYTES_A_TOKEN", "has_room", "quota_of"]

BYTES_A_TOKEN: Final = 4
"""How the tokens of a part are estimated. What a line holds beside its prompt counts, too, so that
the estimate of usual prompts is on the safe side."""


def quota_of(plan: Plan, batching: Batching, backend: BatchBackend) -> int | None:
    """The most tokens that may wait at once; None if nobody says. The config wins."""
    if batching.elsewhere:
        return None
    return plan.remote.batch_enqueued_tokens or backend.limits.enqueued_tokens


def has_room(quota: int | None, parts: Sequence[PartRecord], part: PartRecord) -> bool:
    """True if a part may be sent beside those that were, and are not at their end.

    One that is alone may be sent whatever it holds: it is one row that is larger than the quota,
    and the provider has to say what it makes of that.
    """
    waiting = [p for p in parts if p.handle is not None and not p.is_terminal]
    if quota is None or not waiting:
        return True
    return sum(p.size for p in waiting) + part.size <= quota * BYTES_A_TOKEN

"""A batch that is being worked on, with all that the work needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from oumi_core.batching.fetching import Fetching
from oumi_core.batching.quota import quota_of

if TYPE_CHECKING:
    from oumi_core.batching.backend import BatchBackend, Batching
    from oumi_core.batching.manifest import Manifest
    from oumi_core.batching.patience import Patience
    from oumi_core.run.plan import Plan
    from oumi_core.run.row import Row

__all__ = ["OpenBatch"]


@attrs.frozen
class OpenBatch:
    """A batch that is being worked on.

    Attributes:
        manifest: the batch.
        plan: the config of its submission, worked out.
        batching: where it went.
        judge: checks answers as a run does.
        carrier: what carries it; None if all its results are here and nobody has to be asked.
        patience: makes the calls.
    """

    manifest: Manifest
    plan: Plan
    batching: Batching
    judge: Row
    carrier: BatchBackend | None
    patience: Patience

    @property
    def backend(self) -> BatchBackend:
        """What carries it."""
        assert self.carrier is not None  # noqa: S101 - who asks for it opened the batch for that
        return self.carrier

    @property
    def fetching(self) -> Fetching:
        """Asks how far it is, and for results."""
        return Fetching(self.manifest, self.backend, self.patience, self.judge, self.plan.enforced)

    @property
    def quota(self) -> int | None:
        """The most tokens of it that may wait at once; None if nobody says."""
        return quota_of(self.plan, self.batching, self.backend)

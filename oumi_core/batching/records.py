"""What the manifest of a batch holds: what the batch is, its parts, and which rows are in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from oumi_core.batching.status import PartStatus

__all__ = ["Facts", "PartRecord", "Span"]


@attrs.frozen
class Facts:
    """What a batch is, for good.

    Attributes:
        batch_id: its id, and the name of its folder.
        engine: the name by which any process finds the engine.
        batching: what carries it.
        model: the model's name.
        config: the config of the submission, as `write_config` wrote it.
        window: the time in which it must be done.
        created_at: in seconds since 1970.
        rows: how many rows it has.
    """

    batch_id: str
    engine: str
    batching: str
    model: str
    config: bytes
    window: str
    created_at: float
    rows: int


@attrs.frozen
class PartRecord:
    """A part, as far as it has come.

    Attributes:
        number: from 1, over all rounds.
        round: 1 for the submission, more for what was sent again.
        token: names it everywhere.
        requests: its lines.
        size: the bytes of its file.
        tried: when it was first about to be sent; None if it never was.
        uploaded: the id of its file; None if it has none yet.
        handle: what the backend calls it; None if it was not submitted, as far as is known.
        status: as it was last seen; None if it never was.
        ended: True if all its results are here.
    """

    number: int
    round: int
    token: str
    requests: int
    size: int
    tried: float | None = None
    uploaded: str | None = None
    handle: str | None = None
    status: PartStatus | None = None
    ended: bool = False

    @property
    def is_terminal(self) -> bool:
        """True if it changes no more."""
        return self.status is not None and self.status.is_terminal


@attrs.frozen
class Span:
    """Rows that stand one after another, both in the submission and in a part.

    Attributes:
        part: the part.
        line: the first one's line there, from 1.
        place: its index in the submission.
        count: how many they are.
    """

    part: int
    line: int
    place: int
    count: int

"""Sending the parts of a batch, so that a crash at any point sends none of them twice."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
from typing import TYPE_CHECKING, Final

from oumi_core.batching.backend import Part
from oumi_core.batching.leave import next_request
from oumi_core.batching.manifest import explained, part_path
from oumi_core.batching.patience import may_have_arrived
from oumi_core.batching.quota import has_room
from oumi_core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oumi_core.batching.backend import BatchBackend
    from oumi_core.batching.manifest import Manifest
    from oumi_core.batching.patience import Patience
    from oumi_core.batching.records import PartRecord

__all__ = ["find_sent", "handles_of", "send_parts"]

_CLOCKS_DIFFER: Final = 24 * 3600.0
"""Seconds: a part that the backend took so long before we first tried is not ours.

So much, since clocks go wrong by a time zone, and to look too far back costs only some pages.
"""


async def send_parts(
    manifest: Manifest, backend: BatchBackend, patience: Patience, quota: int | None
) -> bool:
    """Send the parts that were not sent yet, in order, as far as the quota has room for them.

    Args:
        manifest: the batch.
        backend: what carries it.
        patience: makes the calls.
        quota: as `quota_of` gives it.

    Returns:
        True if none is left.

    Raises:
        EngineError: one is refused; those before it are sent.
        RunStopped: none can be sent now.
    """
    await find_sent(manifest, backend, patience)
    for part in await asyncio.to_thread(manifest.parts):
        if part.handle is None and not part.is_terminal:
            if not has_room(quota, await asyncio.to_thread(manifest.parts), part):
                return False
            sending = await asyncio.to_thread(_Sending, manifest, backend, patience, part)
            await sending.send()
    return True


async def find_sent(manifest: Manifest, backend: BatchBackend, patience: Patience) -> None:
    """Record parts that were submitted before a crash kept that from being recorded.

    Raises:
        EngineError, RunStopped: the backend cannot be asked.
    """
    parts = await asyncio.to_thread(manifest.parts)
    lost = [p for p in parts if p.handle is None and p.tried is not None and not p.is_terminal]
    if not lost:
        return
    handles = await handles_of(backend, patience, lost)
    for part in lost:
        if part.token in handles:
            await asyncio.to_thread(manifest.submitted, part.number, handles[part.token])


async def handles_of(
    backend: BatchBackend, patience: Patience, parts: Sequence[PartRecord]
) -> dict[str, str]:
    """Token and handle of those parts, which were tried, that the backend lists.

    Raises:
        EngineError, RunStopped: it cannot be asked.
    """
    since = min(part.tried or 0.0 for part in parts) - _CLOCKS_DIFFER
    tokens = {part.token for part in parts}
    return await patience.call(lambda: _handles(backend, tokens, since))


async def _handles(backend: BatchBackend, tokens: set[str], since: float) -> dict[str, str]:
    """The handles of parts with these tokens, as far as the backend has them.

    What is too old ends the search only where something newer stood before it: a list with the
    oldest first would end it at once, and a part that is there would be sent again.
    """
    found: dict[str, str] = {}
    newest = -math.inf
    async with contextlib.aclosing(backend.list()) as listed:
        async for status in listed:
            if status.token in tokens:
                found[status.token] = status.handle
            created = math.inf if status.created_at is None else status.created_at
            if len(found) == len(tokens) or created < min(since, newest):
                break
            if status.created_at is not None:
                newest = max(newest, status.created_at)
    return found


def _part(manifest: Manifest, part: PartRecord) -> Part:
    """A part as a backend gets it. Blocks."""
    facts = manifest.facts
    path = part_path(manifest.folder, part.number)
    with explained(manifest.folder), path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(
        batch_id=facts.batch_id,
        token=part.token,
        path=path,
        requests=part.requests,
        size=part.size,
        sha256=sha256,
        model=facts.model,
        window=facts.window,
    )


class _Sending:
    """One part on its way; made in a thread, since its file is read."""

    def __init__(
        self, manifest: Manifest, backend: BatchBackend, patience: Patience, part: PartRecord
    ) -> None:
        self._manifest = manifest
        self._backend = backend
        self._patience = patience
        self._record = part
        self._tried = part.tried
        self._part = _part(manifest, part)
        self._unclear = False

    async def send(self) -> None:
        """Upload its file, unless it is there, and submit it."""
        number, manifest = self._record.number, self._manifest
        if self._tried is None:
            self._tried = await asyncio.to_thread(manifest.tried, number)
        uploaded = self._record.uploaded
        if uploaded is not None:
            try:
                await self._submit(uploaded)
            except EngineError as error:
                if error.failure.retryable:
                    raise
                # The file of an earlier process may be gone by now: bring it once more.
                await asyncio.to_thread(manifest.uploaded, number, None)
            else:
                return
        uploaded = await self._patience.call(lambda: self._backend.upload(self._part))
        if uploaded is not None:
            await asyncio.to_thread(manifest.uploaded, number, uploaded)
        await self._submit(uploaded)

    async def _submit(self, uploaded: str | None) -> None:
        handle = await self._patience.call(lambda: self._submit_once(uploaded))
        await asyncio.to_thread(self._manifest.submitted, self._record.number, handle)

    async def _submit_once(self, uploaded: str | None) -> str:
        if self._unclear:
            token = self._part.token
            since = (self._tried or 0.0) - _CLOCKS_DIFFER
            found = await _handles(self._backend, {token}, since)
            if token in found:
                return found[token]
            await next_request()
        try:
            return await self._backend.submit(self._part, uploaded)
        except EngineError as error:
            self._unclear = self._unclear or may_have_arrived(error.failure)
            raise

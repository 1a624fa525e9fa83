"""The governor of each server: the same one for all that share its limits, in this process."""

from __future__ import annotations

import asyncio
import hashlib
import weakref

from oumi_core.run.governor import Governor

__all__ = ["governor_of"]


class _Governors:
    """Those of one loop, by what their scope hashes to: a scope holds a key.

    One that nobody has used for long is let go of, but stays the one as long as a run holds it.
    """

    def __init__(self) -> None:
        self._all: weakref.WeakValueDictionary[bytes, Governor] = weakref.WeakValueDictionary()
        self._kept: dict[bytes, Governor] = {}

    def get(self, scope: tuple[object, ...], now: float) -> Governor:
        name = hashlib.sha256(repr(scope).encode()).digest()
        governor = self._all.get(name)
        if governor is None:
            self._kept = {name: kept for name, kept in self._kept.items() if kept.unused_from > now}
            governor = self._all[name] = Governor()
        self._kept[name] = governor
        return governor


_governors: dict[asyncio.AbstractEventLoop, _Governors] = {}


def governor_of(scope: tuple[object, ...]) -> Governor:
    """The running loop's governor for a scope; the same one from its first request on.

    It stays when the engine that asked for it has gone: a minute's limit holds across engines.
    """
    loop = asyncio.get_running_loop()
    governors = _governors.get(loop)
    if governors is None:
        for other in list(_governors):
            if other.is_closed():
                _governors.pop(other, None)
        governors = _governors[loop] = _Governors()
    return governors.get(scope, loop.time())

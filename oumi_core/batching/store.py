"""The folder that holds all batches of this user on this machine."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import attrs

from oumi_core.batching.fetching import info_of
from oumi_core.batching.manifest import Manifest, explained
from oumi_core.batching.stored_config import read_config
from oumi_core.batching.submission import same_rows
from oumi_core.errors import ConfigError
from oumi_core.file_lock import file_lock
from oumi_core.state_folder import make_private, state_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from oumi_core.batching.records import Facts
    from oumi_core.batching.status import BatchInfo

__all__ = ["BatchStore"]

_BUILDING: Final = ".building-"
_UNSENT: Final = "unsent"
_WAITING: Final = "waiting"
_LOCK: Final = "lock"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""What a folder of a batch can be called: no way out of the folder of all of them."""
_NEW: Final = 60.0


class BatchStore:
    """Finds, makes and removes the folders of batches. Its methods block.

    Args:
        state: where state is kept; by default `state_folder`.
    """

    def __init__(self, state: Path | None = None) -> None:
        self.state = state_folder() if state is None else state
        self.root = self.state / "batches"

    def ids(self) -> list[str]:
        """All batches, the newest first."""
        if not self.root.is_dir():
            return []
        names = (path.name for path in self.root.iterdir() if not path.name.startswith("."))
        return sorted(names, reverse=True)

    def infos(self, after: str | None = None, engine: str | None = None) -> Iterator[BatchInfo]:
        """All batches as they were last seen, the newest first.

        Of one that cannot be read a warning says so.

        Args:
            after: leave out this batch and those that are newer.
            engine: only those of this engine; None for all.
        """
        for batch_id in self.ids():
            if after is not None and batch_id >= after:
                continue
            try:
                with contextlib.closing(self.open(batch_id)) as manifest:
                    if engine not in {None, manifest.facts.engine}:
                        continue
                    info = info_of(manifest)
            except ConfigError as error:
                if (self.root / batch_id).exists():  # else it was forgotten a moment ago
                    warnings.warn(f"left out of the list: {error}", UserWarning, stacklevel=2)
                continue
            yield info

    def open(self, batch_id: str) -> Manifest:
        """The manifest of a batch.

        Raises:
            ConfigError: there is no such batch.
        """
        if not _ID.fullmatch(batch_id):
            raise ConfigError(
                f"{batch_id!r} is no id of a batch; see those there are: oumi batch list"
            )
        return Manifest(self.root / batch_id)

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """A new folder, which is removed at the end unless it was published.

        Raises:
            RunStopped: the disk refuses.
        """
        with explained(self.root):
            make_private(self.root)
            self._sweep()
            # The name begins with the time, so that names sort by age; to the microsecond, since
            # several may be made in a second.
            name = f"batch-{datetime.now(UTC):%Y%m%d%H%M%S%f}-{secrets.token_hex(4)}"
            folder = self.root / f"{_BUILDING}{name}"
            folder.mkdir(mode=0o700)
        try:
            with self.locked(folder):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path) -> Path:
        """Make a folder that was built a batch: in one step, and for good."""
        self.unsend(folder)
        published = self.root / folder.name.removeprefix(_BUILDING)
        _sync(folder)
        folder.rename(published)
        _sync(self.root)
        return published

    def batch_id(self, folder: Path) -> str:
        """The id that a folder which is being built will have."""
        return folder.name.removeprefix(_BUILDING)

    def unsend(self, folder: Path) -> None:
        """A batch has parts that still have to be sent, or nobody knows its id yet."""
        (folder / _UNSENT).touch(0o600)

    def sent(self, folder: Path, *, whole: bool = True) -> None:
        """A batch has been sent, and its id is known; if not `whole`, parts wait for room."""
        if whole:
            (folder / _WAITING).unlink(missing_ok=True)
        else:
            (folder / _WAITING).touch(0o600)
        (folder / _UNSENT).unlink(missing_ok=True)

    def waits(self, folder: Path) -> bool:
        """True if parts of a batch wait until the provider has room for them."""
        return (folder / _WAITING).exists()

    def is_unsent(self, folder: Path) -> bool:
        """True if a part of a batch still has to be sent."""
        return (folder / _UNSENT).exists()

    def unsent_twin(self, folder: Path, facts: Facts) -> Path | None:
        """A batch that asks the same, of a process that ended before it gave the id away.

        Args:
            folder: where the batch that asks is being built.
            facts: what that is.
        """
        for path in self.root.glob(f"*/{_UNSENT}"):
            if path.parent.name.startswith("."):
                continue
            with contextlib.suppress(ConfigError), self.locked(path.parent) as free:
                if free and self._is_twin(path.parent, folder, facts):
                    return path.parent
        return None

    def _is_twin(self, other: Path, folder: Path, facts: Facts) -> bool:
        try:
            manifest = Manifest(other)
        except ConfigError:
            return False  # of another version: not to be touched
        manifest.close()
        return _asked(manifest.facts) == _asked(facts) and same_rows(other, folder)

    @contextlib.contextmanager
    def locked(self, folder: Path) -> Iterator[bool]:
        """Be the only process that sends a batch; False if another one is.

        Raises:
            ConfigError: it was forgotten a moment ago.
        """
        with contextlib.ExitStack() as held:
            try:
                free = held.enter_context(file_lock(folder / _LOCK))
            except FileNotFoundError:
                raise ConfigError(f"batch {folder.name} was forgotten by another process") from None
            yield free

    def forget(self, batch_id: str) -> None:
        """Remove a batch from this machine: in one step, so that no half of one stays.

        Raises:
            RunStopped: the disk refuses.
        """
        with explained(self.root):
            going = self.root / f"{_BUILDING}{batch_id}"
            (self.root / batch_id).rename(going)
            shutil.rmtree(going)

    def _sweep(self) -> None:
        """Remove what processes that have ended were building."""
        for path in self.root.glob(f"{_BUILDING}*"):
            with contextlib.suppress(FileNotFoundError, ConfigError):
                # One that is new may be about to be locked.
                if time.time() - path.stat().st_mtime < _NEW:
                    continue
                with self.locked(path) as free:
                    if free:
                        shutil.rmtree(path, ignore_errors=True)


def _asked(facts: Facts) -> object:
    """What a batch asks and of whom, without how the server is treated meanwhile."""
    config = read_config(facts.config)
    remote = config.remote_params
    url = None if remote is None else remote.api_url
    asked = attrs.evolve(config, remote_params=None, num_workers=None)
    return facts.engine, facts.batching, facts.window, facts.rows, url, asked


def _sync(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

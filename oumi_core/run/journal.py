"""The journal of a run: what has been answered, on disk before anyone is told.

A SQLite file beside the output. Each result is one row, found again by the key of what was sent
(`RowKeys`), so that a run that was cut goes on where it was, a changed config never gets old
answers, and of an edited input only the edited rows run again. Rows with equal keys each have a
result of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from oumi_core.disk import DISK_REFUSALS
from oumi_core.errors import ConfigError, RunStopped
from oumi_core.loop import Threads
from oumi_core.run.spending import spent_in

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from oumi_core.run.spending import Asked
    from oumi_core.types.completion import Usage

__all__ = ["JOURNAL_KIND", "Entry", "Journal", "Stored", "journal_path"]

_SQLITE_REFUSALS = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""What SQLite says of a disk that is at fault itself, and not the path to it."""

_INDEX = "CREATE INDEX IF NOT EXISTS result_key ON result (key, run DESC, ok DESC, id)"
"""In the order in which `find` wants them: the thousandth of equal rows is found at once, too."""

_SCHEMA_VERSION = 2
_APPLICATION_ID = 0x6F756D69  # "oumi": `file` and our own check tell it from other databases
JOURNAL_KIND = (_APPLICATION_ID, _SCHEMA_VERSION)
"""SQLite's `application_id` and `user_version` of a journal that this version reads."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS result (
    id INTEGER PRIMARY KEY,
    key INTEGER NOT NULL,      -- the first 64 bits of the digest: a third of a blob index's cost
    digest BLOB NOT NULL,
    run INTEGER NOT NULL,      -- the last run that this result belonged to
    place INTEGER NOT NULL,    -- its row's index in that run's input
    ok INTEGER NOT NULL,
    line BLOB NOT NULL,        -- for the output file, or for that of the failed rows
    record BLOB NOT NULL       -- the rest of the result, as JSON
);
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY,
    started TEXT DEFAULT CURRENT_TIMESTAMP,
    model TEXT NOT NULL,
    price TEXT                 -- of its tokens, as JSON
);
"""


@attrs.frozen
class Stored:
    """A result of an earlier run.

    Attributes:
        id: its row in the journal.
        ok: False for a failure.
        record: the result as JSON.
        line: as it stands in the journal.
    """

    id: int
    ok: bool
    record: bytes
    line: bytes


class Entry(NamedTuple):
    """A result on its way into the journal; one a row, so no attrs class, which takes 1 us more.

    Attributes:
        digest: the key of its row.
        place: the row's index in the input.
        ok: False for a failure.
        line: what goes to the output file, or to that of the failed rows.
        record: the rest of the result, as JSON.
        replaces: the earlier result of the same row, if it had one.
    """

    digest: bytes
    place: int
    ok: bool
    line: bytes
    record: bytes
    replaces: int | None = None


def journal_path(output_path: str) -> Path:
    """Where the journal of the runs to `output_path` is."""
    return Path(f"{output_path}.oumi.db")


class Journal:
    """One run's view of its journal. One run at a time may have it open.

    Results are committed in groups: while one commit goes on, whatever ends is gathered for the
    next, so that the disk is waited for once a group and never by a timer.
    """

    def __init__(self, output_path: str, asked: Asked) -> None:
        """Open or create the journal of a run that asks `asked`, and lock it. Blocks.

        Raises:
            ConfigError: it cannot be written, is locked by another run, or is no journal.
            RunStopped: the disk refused.
        """
        self.path = journal_path(output_path)
        self._lock = threading.Lock()
        self._closed = False
        self._waiting: list[tuple[Entry, asyncio.Future[None]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._executor = Threads(1, "oumi-journal")
        with self._explained():
            # Made by hand first: answers are nobody else's to read.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(0o600)
            self._database = sqlite3.connect(
                self.path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                self.run = self._open(asked)
            except BaseException:
                self._database.close()
                raise
            self.resumes = self._index_if_used()

    def _open(self, asked: Asked) -> int:
        database = self._database
        # Exclusive: the lock is held until the file is closed, by whatever means.
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        kind = (self._scalar("PRAGMA application_id"), self._scalar("PRAGMA user_version"))
        tables = self._scalar("SELECT count(*) FROM sqlite_schema")
        if tables and kind != JOURNAL_KIND:
            raise ConfigError(
                f"{self.path}: not a journal of this version of oumi-core; move it away"
            )
        if self._scalar("PRAGMA journal_mode = WAL") != "wal":
            # All that SQLite says of an error there; the next ones would come in the run.
            raise self._refused("no write-ahead log can be made")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";\n"):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        price = None if asked.price is None else asked.price.text
        insert = "INSERT INTO run (model, price) VALUES (?, ?)"
        run = database.execute(insert, (asked.model, price)).lastrowid
        database.execute("COMMIT")
        return run or 0

    def _index_if_used(self) -> bool:
        """Make what `find` needs, if there is anything to find.

        Not before: keys are random, so that an index makes an insert three times as dear, and
        most journals are only looked into after a run was cut. A million rows take a second.
        """
        if not self._scalar("SELECT EXISTS (SELECT 1 FROM result)"):
            return False
        self._database.execute(_INDEX)
        return True

    def _scalar(self, query: str) -> Any:
        return self._database.execute(query).fetchone()[0]

    def _refused(self, reason: object) -> RunStopped:
        return RunStopped(
            f"the disk of {self.path} refused: {reason}; what was finished before is kept: "
            "mend the disk and run the same again"
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite and the disk say on opening into an error of ours."""
        try:
            yield
        except sqlite3.OperationalError as error:
            code = error.sqlite_errorcode & 0xFF  # without what extends it
            if code in _SQLITE_REFUSALS:
                raise self._refused(error) from error
            if code == sqlite3.SQLITE_BUSY:
                raise ConfigError(
                    f"{self.path}: another run is writing this output; wait for it, or choose "
                    "another output_path"
                ) from error
            raise ConfigError(f"output_path: cannot write {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT:  # or it could not be read
                raise RunStopped(
                    f"{self.path} cannot be read ({error}): its disk fails, or it is damaged; mend "
                    "the disk and run the same again, or move the journal away to begin anew"
                ) from error
            raise ConfigError(f"{self.path}: not a journal ({error}); move it away") from error
        except OSError as error:
            if error.errno in DISK_REFUSALS:
                raise self._refused(error.strerror) from error
            raise ConfigError(
                f"output_path: cannot write {self.path}: {error.strerror}; choose another path"
            ) from error

    def forget(self) -> None:
        """Drop all results of earlier runs. Blocks."""
        with self._open_file():
            self._database.execute("DELETE FROM result")
        self.resumes = False

    def spent(self) -> list[tuple[Asked, Usage]]:
        """What all runs so far have spent, by the model and its price. Blocks.

        Raises:
            RunStopped: the disk refused.
        """
        with self._open_file():
            return list(spent_in(self._database))

    def find(self, digest: bytes) -> Stored | None:
        """A result of an earlier run for this key that no row of this run has taken. Blocks."""
        query = (
            "SELECT id, ok, record, line FROM result WHERE key = ? AND run < ? AND digest = ? "
            "ORDER BY run DESC, ok DESC, id LIMIT 1"
        )
        with self._open_file():
            row = self._database.execute(query, (_key(digest), self.run, digest)).fetchone()
        return None if row is None else Stored(row[0], bool(row[1]), row[2], row[3])

    def take(self, stored: Stored, place: int) -> None:
        """Make an earlier result this run's, for the row at `place`. Blocks.

        Written with the next commit: losing it costs nothing, since the result stays.
        """
        update = "UPDATE result SET run = ?, place = ? WHERE id = ?"
        with self._open_file():
            self._begin()
            self._database.execute(update, (self.run, place, stored.id))

    def _begin(self) -> None:
        if not self._database.in_transaction:
            self._database.execute("BEGIN")

    def add(self, entry: Entry) -> asyncio.Future[None]:
        """Write a result; to be awaited, and done when it is on disk.

        Raises:
            RunStopped: the disk refused; raised by what is returned.
        """
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit_groups())
        done = self._committer.get_loop().create_future()
        self._waiting.append((entry, done))
        return done

    async def _commit_groups(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(0)  # whoever is ready in this turn of the loop comes along
            group, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                entries = [entry for entry, _ in group]
                await loop.run_in_executor(self._executor, self._commit, entries)
            except Exception as refused:  # noqa: BLE001 - whatever it is, somebody waits for it
                error = refused
            for _, done in group:
                if done.done():
                    continue  # nobody waits for it any more; it is on disk all the same
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _commit(self, entries: list[Entry]) -> None:
        insert = (
            "INSERT OR REPLACE INTO result (id, key, digest, run, place, ok, line, record) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        rows = [
            (e.replaces, _key(e.digest), e.digest, self.run, e.place, e.ok, e.line, e.record)
            for e in entries
        ]
        with self._open_file():
            self._begin()
            self._database.executemany(insert, rows)
            self._database.execute("COMMIT")

    @contextlib.contextmanager
    def _open_file(self) -> Iterator[None]:
        """One thread at a time, while the file is open."""
        with self._lock:
            if self._closed:
                raise RunStopped(f"{self.path} was closed while the run went on")
            try:
                yield
            except sqlite3.Error as error:
                self._roll_back()
                raise self._refused(error) from error

    def _roll_back(self) -> None:
        # A commit that failed leaves its transaction open; a disk that is gone refuses this, too.
        with contextlib.suppress(sqlite3.Error):
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")

    def lines(self, *, ok: bool) -> Generator[bytes]:
        """The lines of this run's results, good or failed, in input order. Blocks.

        To be closed by a caller who does not take them all: until then nobody else gets in.
        """
        query = "SELECT line FROM result WHERE run = ? AND ok = ? ORDER BY place"
        with self._open_file():
            self._begin()
            # Sorting without it would carry every line through the sorter.
            self._database.execute("CREATE INDEX IF NOT EXISTS by_place ON result (run, ok, place)")
            for (line,) in self._database.execute(query, (self.run, ok)):
                yield line
            # Dropped again: each insert of a later run would pay for it.
            self._database.execute("DROP INDEX by_place")
            self._database.execute("COMMIT")

    async def close(self) -> None:
        """Commit what waits, and close the file; to the end, even if that is canceled."""
        closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise

    async def _close(self) -> None:
        if self._committer is not None:
            await self._committer
        await asyncio.get_running_loop().run_in_executor(self._executor, self._close_file)
        self._executor.shutdown()

    def _close_file(self) -> None:
        with self._lock:
            self._closed = True
            self._database.close()


def _key(digest: bytes) -> int:
    return int.from_bytes(digest[:8], signed=True)

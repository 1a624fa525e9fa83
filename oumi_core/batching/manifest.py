"""The manifest of a batch: its rows, its parts and its results, on disk and for any process.

A folder a batch, named by its id, private to the user. It appears in one piece, when all rows are
in it: that is the intent. From then on each step is committed before the next one is taken.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import IO, TYPE_CHECKING, Any, Final

import attrs

from oumi_core.batching.outcome import Outcome
from oumi_core.batching.records import Facts, PartRecord, Span
from oumi_core.batching.status import (
    BatchError,
    BatchStatus,
    PartStatus,
    RequestCounts,
    as_status,
)
from oumi_core.errors import ConfigError, OumiError, RunStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = [
    "DATABASE",
    "ROWS",
    "Manifest",
    "created_database",
    "explained",
    "insert_facts",
    "insert_parts",
    "insert_spans",
    "part_path",
]

DATABASE: Final = "batch.db"
ROWS: Final = "rows.jsonl"
"""The rows of the submission in Oumi's format, in order: what a batch was asked, for good."""
_APPLICATION_ID: Final = 0x6F756D62  # "oumb"
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value);
CREATE TABLE span (               -- rows that stand one after another, in the input and in a part
    part INTEGER NOT NULL,
    line INTEGER NOT NULL,        -- of the first, from 1
    place INTEGER NOT NULL,       -- its index in the submission
    count INTEGER NOT NULL,
    PRIMARY KEY (part, line)
) WITHOUT ROWID;
CREATE TABLE part (
    number INTEGER PRIMARY KEY,
    round INTEGER NOT NULL,     -- 1 for the submission, more for what was sent again
    token TEXT NOT NULL,
    requests INTEGER NOT NULL,
    size INTEGER NOT NULL,
    tried REAL,                 -- when it was first about to be sent
    uploaded TEXT,
    handle TEXT,
    status TEXT,                -- as it was last seen, JSON
    ended INTEGER NOT NULL DEFAULT 0  -- all its results are here
);
CREATE TABLE result (
    place INTEGER PRIMARY KEY,
    part INTEGER,
    outcome TEXT NOT NULL,
    record BLOB NOT NULL
);
"""

_PRIMARY: Final = 0xFF
"""What SQLite's longer codes of errors have in common."""
_REFUSALS: Final = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}
)
"""Errors of the disk, or of who else uses it; all others are of what stands in the file."""
_GATHERED: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS gathered (place INTEGER, outcome TEXT, record BLOB)"
)


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what a disk refuses into a `RunStopped`."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _refused(folder, error) from error


def _refused(folder: Path, error: Exception) -> RunStopped:
    return RunStopped(
        f"the disk of {folder} refused: {error}; what was written before is kept: mend the "
        "disk and run the same again"
    )


def created_database(folder: Path) -> sqlite3.Connection:
    """A new, empty database in a folder that nobody else knows yet: quick, and safe once closed."""
    path = folder / DATABASE
    path.touch(0o600)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Nobody can see the folder before all is written and synced: a crash leaves nothing to mend.
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    database.executescript(_SCHEMA)
    database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    return database


class Manifest:
    """One batch's manifest, opened. Its methods block; any process may open it at any time."""

    def __init__(self, folder: Path) -> None:
        """Open it.

        Raises:
            ConfigError: there is none, or it is of another version.
            RunStopped: the disk refuses.
        """
        self.folder = folder
        path = folder / DATABASE
        if not path.is_file():
            raise ConfigError(
                f"there is no batch '{folder.name}' in {folder.parent}; see the batches that there "
                "are: oumi batch list"
            )
        try:
            self._database = sqlite3.connect(
                path, timeout=30, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as error:
            raise self._unreadable(error) from error
        try:
            self._check(path)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self.facts = self._facts()
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise self._unreadable(error) from error
        except BaseException:
            self._database.close()
            raise

    def _check(self, path: Path) -> None:
        kind = tuple(self._one(f"PRAGMA {name}")[0] for name in ("application_id", "user_version"))
        if kind != (_APPLICATION_ID, _SCHEMA_VERSION):
            raise ConfigError(f"{path}: not a manifest of this version of oumi-core")

    def _facts(self) -> Facts:
        facts = dict(self._database.execute("SELECT name, value FROM fact"))
        if facts.keys() != attrs.fields_dict(Facts).keys():
            raise sqlite3.DatabaseError("what the batch is has been lost")
        return Facts(**facts)

    def _unreadable(self, error: sqlite3.Error) -> OumiError:
        if getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _REFUSALS:
            return _refused(self.folder, error)
        return ConfigError(f"{self.folder / DATABASE}: not a manifest that can be read: {error}")

    def _all(self, query: str, values: Iterable[Any] = ()) -> Iterator[Any]:
        try:
            # Not `yield from`: left before its end, that would close a cursor of a closed file.
            for row in self._database.execute(query, tuple(values)):  # noqa: UP028 - see above
                yield row
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error

    def _one(self, query: str, values: Iterable[Any] = ()) -> Any:
        return next(self._all(query, values), None)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; all of it or nothing."""
        database = self._database
        with explained(self.folder):
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Its parts.

    def parts(self) -> list[PartRecord]:
        """All parts, in order.

        Raises:
            ConfigError: they cannot be read.
            RunStopped: the disk refuses.
        """
        names = [field.name for field in attrs.fields(PartRecord)]
        query = f"SELECT {', '.join(names)} FROM part ORDER BY number"  # noqa: S608 - of our class
        rows = [dict(zip(names, row, strict=True)) for row in self._all(query)]
        try:
            return [
                PartRecord(
                    **{**row, "status": _read_status(row["status"]), "ended": bool(row["ended"])}
                )
                for row in rows
            ]
        except (ValueError, TypeError, KeyError) as error:  # a status of no such form
            raise ConfigError(
                f"{self.folder / DATABASE}: not a manifest that can be read: {error}"
            ) from error

    def tried(self, number: int) -> float:
        """A part is about to be sent for the first time; when that is."""
        now = time.time()
        self._set(number, tried=now)
        return now

    def uploaded(self, number: int, file_id: str | None) -> None:
        """A part's file is there; None if it has to be sent again."""
        self._set(number, uploaded=file_id)

    def submitted(self, number: int, handle: str) -> None:
        """A part is at the backend. Its file is needed no more."""
        self._set(number, handle=handle)
        part_path(self.folder, number).unlink(missing_ok=True)

    def seen(self, number: int, status: PartStatus) -> None:
        """A part was looked at."""
        self._set(number, status=_write_status(status))

    def never_sent(self, number: int) -> None:
        """A part that was not submitted will not be."""
        self.seen(number, PartStatus("", BatchStatus.CANCELLED))
        part_path(self.folder, number).unlink(missing_ok=True)

    def _set(self, number: int, **values: Any) -> None:
        columns = ", ".join(f"{name} = ?" for name in values)
        with self._writing() as database:
            database.execute(
                f"UPDATE part SET {columns} WHERE number = ?",  # noqa: S608 - names of ours
                (*values.values(), number),
            )

    def add_round(self, parts: Iterable[PartRecord], spans: Iterable[Span]) -> None:
        """Send rows once more: in other parts, and without the results they had."""
        with self._writing() as database:
            insert_parts(database, parts)
            for span in spans:
                insert_spans(database, [span])
                database.execute(
                    "DELETE FROM result WHERE place BETWEEN ? AND ?",
                    (span.place, span.place + span.count - 1),
                )

    # Its rows and results.

    def rows(self) -> Iterator[bytes]:
        """All rows in order, each as a line in Oumi's format.

        Raises:
            ConfigError: they are gone.
        """
        with self.open_rows() as file:
            yield from file

    def open_rows(self) -> IO[bytes]:
        """The file of all rows.

        Raises:
            ConfigError: they are gone.
        """
        path = self.folder / ROWS
        try:
            return path.open("rb")
        except OSError as error:
            why = f"the batch's rows cannot be read: {error.strerror}"
            raise ConfigError(f"{path}: {why}") from error

    def place_of_line(self, part: int, line: int) -> int | None:
        """The row that a part's line is about; None if that line is about none."""
        found = self._one(
            "SELECT place + ? - line FROM span "
            "WHERE part = ? AND ? BETWEEN line AND line + count - 1",
            (line, part, line),
        )
        return None if found is None else found[0]

    def results(self) -> Iterator[tuple[int, bytes]]:
        """Place and record of each row that has a result, in order."""
        return self._all("SELECT place, record FROM result ORDER BY place")

    def record_at(self, place: int) -> bytes | None:
        """The record of a row; None if it has no result."""
        found = self._one("SELECT record FROM result WHERE place = ?", (place,))
        return None if found is None else found[0]

    def outcomes(self, part: int | None = None) -> dict[str, int]:
        """How many rows have each outcome, of those that have one; in all or in one part."""
        where = "" if part is None else " WHERE part = ?"
        return dict(
            self._all(
                f"SELECT outcome, count(*) FROM result{where} GROUP BY outcome",  # noqa: S608 - ours
                () if part is None else (part,),
            )
        )

    def unanswered(self) -> Iterator[tuple[int, bytes]]:
        """Place and line of each row that has no accepted answer, in order."""
        query = "SELECT place FROM result WHERE outcome = ? ORDER BY place"
        answered = (place for (place,) in self._all(query, (Outcome.OK.value,)))
        next_answered = next(answered, None)
        for place, line in enumerate(self.rows()):
            if place == next_answered:
                next_answered = next(answered, None)
            else:
                yield place, line

    def gather(self, results: Iterable[tuple[int, str, bytes]]) -> None:
        """Put results by, until `ingest` makes them count; seen by this process alone.

        Args:
            results: place, outcome and record of each.
        """
        with explained(self.folder):
            self._database.execute(_GATHERED)
            self._database.executemany("INSERT INTO gathered VALUES (?, ?, ?)", results)

    def drop_gathered(self) -> None:
        """Forget what `gather` put by."""
        with explained(self.folder):
            self._database.execute("DROP TABLE IF EXISTS gathered")

    def ingest(
        self, part: PartRecord, silent: Callable[[int | None], tuple[str, bytes]] | None
    ) -> None:
        """Make what was gathered count, all at once; a crash leaves all of it or nothing.

        A result counts for the row of its place, if this part carries that row and it has no
        result yet.

        Args:
            part: the part that the results are from.
            silent: gives outcome and record of a row that has no result, by its line; None if the
                part has not ended.
        """
        with self._writing() as database:
            database.execute(_GATHERED)
            database.execute(
                "INSERT OR IGNORE INTO result "
                "SELECT gathered.place, part, outcome, record FROM gathered JOIN span "
                "ON gathered.place BETWEEN span.place AND span.place + span.count - 1 "
                "WHERE part = ?",
                (part.number,),
            )
            if silent is not None:
                for place, line in self._without_result(part.number):
                    database.execute(
                        "INSERT INTO result VALUES (?, ?, ?, ?)",
                        (place, part.number, *silent(line)),
                    )
                database.execute("UPDATE part SET ended = 1 WHERE number = ?", (part.number,))
        self.drop_gathered()

    def _without_result(self, part: int) -> Iterator[tuple[int, int]]:
        spans = self._database.execute("SELECT * FROM span WHERE part = ?", (part,)).fetchall()
        for span in (Span(*row) for row in spans):
            places = range(span.place, span.place + span.count)
            query = "SELECT place FROM result WHERE place BETWEEN ? AND ?"
            known = {p for (p,) in self._database.execute(query, (places[0], places[-1]))}
            for place in places:
                if place not in known:
                    yield place, span.line + place - span.place

    def replace_results(self, part: int, results: Iterable[tuple[int, str, bytes]]) -> None:
        """New results, in place of those that rows had.

        Args:
            part: the part that they count for.
            results: place, outcome and record of each.
        """
        with self._writing() as database:
            for place, outcome, record in results:
                database.execute(
                    "INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?)",
                    (place, part, outcome, record),
                )


def part_path(folder: Path, number: int) -> Path:
    """Where the lines of a part are until it has been submitted."""
    return folder / f"part-{number}.jsonl"


def insert_facts(database: sqlite3.Connection, facts: Facts) -> None:
    """Write what a batch is into a new database."""
    database.executemany("INSERT INTO fact VALUES (?, ?)", attrs.asdict(facts).items())


def insert_parts(database: sqlite3.Connection, parts: Iterable[PartRecord]) -> None:
    """Add parts whose files are there."""
    database.executemany(
        "INSERT INTO part (number, round, token, requests, size, status, ended) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(part.number, part.round, part.token, part.requests, part.size),
                *(None if part.status is None else _write_status(part.status), part.ended),
            )
            for part in parts
        ],
    )


def insert_spans(database: sqlite3.Connection, spans: Iterable[Span]) -> None:
    """Add where rows stand in parts."""
    database.executemany("INSERT INTO span VALUES (?, ?, ?, ?)", map(attrs.astuple, spans))


def _write_status(status: PartStatus) -> str:
    return json.dumps(attrs.asdict(status))


def _read_status(text: str | None) -> PartStatus | None:
    if text is None:
        return None
    fields = json.loads(text)
    counts = fields.pop("counts")
    return PartStatus(
        status=as_status(fields.pop("status")),
        counts=None if counts is None else RequestCounts(**counts),
        errors=tuple(BatchError(**error) for error in fields.pop("errors")),
        **fields,
    )

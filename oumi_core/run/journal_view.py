"""What is in a journal, counted without changing it and in memory that does not grow with it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from oumi_core.errors import ConfigError
from oumi_core.run.journal import JOURNAL_KIND, journal_path
from oumi_core.run.spending import Spending, Tokens, asked_by_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oumi_core.run.price import Price

__all__ = ["Counts", "JournalView", "view_journal"]


@attrs.frozen
class Counts:
    """Results of a journal, added up.

    Attributes:
        rows: results, good and bad.
        succeeded: rows with an accepted answer.
        failed: rows that failed, by kind, the most frequent first.
        retryable: failed rows that the next run tries again by itself.
        attempts: how often the engine was asked, over all rows.
        prompt_tokens: tokens of all prompts, as far as the engine counted them.
        completion_tokens: tokens of all answers, as far as the engine counted them.
        cost: what these tokens cost, by the prices of the runs; None if one of them had no price.
        median_latency: seconds from a row's first attempt to its outcome, to two digits; None
            without rows.
    """

    rows: int
    succeeded: int
    failed: dict[str, int]
    retryable: int
    attempts: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    median_latency: float | None


@attrs.frozen
class JournalView:
    """What a journal holds.

    Attributes:
        path: the journal.
        runs: how many runs wrote it.
        first_started: when the first of them began; None if none has.
        last_started: when the last of them began; None if none has.
        last_written: when the journal was last written.
        last_run: the results of the last run, those included that it took from earlier ones.
        earlier: results that the last run had no row for, or has not come to: they are kept, and
            taken by a run whose rows they fit.
    """

    path: str
    runs: int
    first_started: datetime | None
    last_started: datetime | None
    last_written: datetime
    last_run: Counts
    earlier: Counts

    def to_dict(self) -> dict[str, Any]:
        """The view as JSON-ready data; times in UTC, as ISO 8601 has them."""

        def plain(_: object, __: object, value: object) -> object:
            return value.isoformat() if isinstance(value, datetime) else value

        return attrs.asdict(self, value_serializer=plain)


def view_journal(output_path: str) -> JournalView:
    """Count what is in the journal of an output. Changes nothing in it.

    Args:
        output_path: the output of the runs; or the journal itself.

    Raises:
        ConfigError: there is no journal, a run is writing it, or it cannot be read.
    """
    path = Path(output_path) if output_path.endswith(".oumi.db") else journal_path(output_path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such journal; {_instead(path)}")
    with _explained(path), _opened(path) as database:
        _check(database, path)
        runs, first, last, last_id = database.execute(
            "SELECT count(*), min(started), max(started), max(id) FROM run"
        ).fetchone()
        last_run, earlier = _counted(database, last_id or 0)
        return JournalView(
            str(path),
            runs,
            _moment(first),
            _moment(last),
            _last_written(path),
            last_run,
            earlier,
        )


def _instead(path: Path) -> str:
    """What to give where there is no journal: the output of one that is there."""
    outputs = [str(found).removesuffix(".oumi.db") for found in path.parent.glob("*.oumi.db")]
    near = get_close_matches(str(path).removesuffix(".oumi.db"), outputs, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return "give the output_path of a run (one that printed its answers keeps none)"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The journal, to be read and left as it is.

    A run keeps its write-ahead log from its first moment to its end. Where there is one, SQLite
    looks after the lock of a run that goes on, and reads what a killed one left. Where there is
    none nobody writes, and the file is read without the files that SQLite would make beside it.

    Raises:
        ConfigError: a run began to write while it was read.
    """
    log = Path(f"{path}-wal")
    quiet = not _size(log)
    before = path.stat()
    # Quoted: a path may hold what a URI gives a meaning to.
    uri = path.absolute().as_uri() + ("?immutable=1" if quiet else "?mode=ro")
    database = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
    try:
        yield database
    finally:
        database.close()
    if quiet and (_size(log) or path.stat().st_mtime_ns != before.st_mtime_ns):
        raise _busy(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _busy(path: Path) -> ConfigError:
    return ConfigError(
        f"{path}: a run is writing it; look again when it has ended (while it goes on, "
        "--progress json or progress_path says how far it is)"
    )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into a `ConfigError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise _busy(path) from error
        raise ConfigError(
            f"{path}: cannot be read ({error}); its last run was killed, so that reading it needs "
            "leave to write in its folder: run the same again, or copy it and its -wal elsewhere"
            if _size(Path(f"{path}-wal"))
            else f"{path}: cannot be read ({error})"
        ) from error
    # msgspec calls bad UTF-8 a UnicodeDecodeError up to 0.22, and a DecodeError from 0.23 on.
    except (sqlite3.DatabaseError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: not a journal, or damaged ({error}); move it away and run again"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _check(database: sqlite3.Connection, path: Path) -> None:
    """Refuse what is no journal.

    Raises:
        ConfigError: it is none.
    """
    names = ("application_id", "user_version")
    kind = tuple(database.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
    if kind == JOURNAL_KIND:
        return
    if not database.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        raise ConfigError(f"{path}: empty: its run was killed before it began; run the same again")
    raise ConfigError(
        f"{path}: not a journal of this version of oumi-core; give the output_path of a run"
    )


def _moment(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored).replace(tzinfo=UTC)


def _last_written(path: Path) -> datetime:
    """When the journal was last written; its log, where a killed run left one."""
    files = [file for file in (path, Path(f"{path}-wal")) if _size(file)]
    latest = max(file.stat().st_mtime for file in files)
    return datetime.fromtimestamp(round(latest), UTC)


# What is looked at of a record; the rest is skipped as it is decoded.


@attrs.frozen
class _Answer:
    usage: Tokens | None = None


@attrs.frozen
class _Failure:
    kind: str
    retryable: bool


@attrs.frozen
class _Record:
    attempts: int
    latency: float
    completion: _Answer | None = None
    failure: _Failure | None = None
    earlier_usage: Tokens | None = None


class _Sum:
    """Adds up records.

    Latencies are counted by their first two digits: a thousand numbers at most, for any number of
    rows.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._failed: Counter[str] = Counter()
        self._retryable = 0
        self._attempts = 0
        self._spent: dict[Price | None, Spending] = {}
        self._latencies: Counter[float] = Counter()

    def add(self, record: _Record, price: Price | None) -> None:
        self._rows += 1
        self._attempts += record.attempts
        self._latencies[float(f"{record.latency:.2g}")] += 1
        if record.failure is not None:
            self._failed[record.failure.kind] += 1
            self._retryable += record.failure.retryable
        spending = self._spent.get(price)
        if spending is None:
            spending = self._spent[price] = Spending()
        spending.add(record.earlier_usage)
        if record.completion is not None:
            spending.add(record.completion.usage)

    def counts(self) -> Counts:
        usages = [(price, spending.usage) for price, spending in self._spent.items()]
        costs = [price.of(usage) for price, usage in usages if price is not None]
        return Counts(
            self._rows,
            self._rows - self._failed.total(),
            dict(sorted(self._failed.items(), key=lambda item: (-item[1], item[0]))),
            self._retryable,
            self._attempts,
            sum(usage.prompt_tokens for _, usage in usages),
            sum(usage.completion_tokens for _, usage in usages),
            sum(costs) if costs and len(costs) == len(usages) else None,
            self._median(),
        )

    def _median(self) -> float | None:
        seen = 0
        for latency in sorted(self._latencies):
            seen += self._latencies[latency]
            if 2 * seen >= self._rows:
                return latency
        return None


def _counted(database: sqlite3.Connection, last_run: int) -> tuple[Counts, Counts]:
    """The results of the last run, and the others.

    Records are decoded here: SQLite's own JSON functions would parse each once a field.
    """
    decode = msgspec.json.Decoder(_Record).decode
    asked = asked_by_runs(database)
    last, earlier = _Sum(), _Sum()
    for run, record in database.execute("SELECT run, record FROM result"):
        (last if run == last_run else earlier).add(decode(record), asked[run].price)
    return last.counts(), earlier.counts()

"""What the runs in a journal have spent, whatever became of their rows since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec

from oumi_core.run.price import Price
from oumi_core.types.completion import Usage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = ["Asked", "Spending", "Tokens", "asked_by_runs", "spent_in"]


@attrs.frozen
class Asked:
    """Whom a run asked, and at what price.

    Attributes:
        model: the name that the config gives.
        price: what its tokens cost; None if the config did not say.
    """

    model: str
    price: Price | None = None


class Spending:
    """Adds up tokens; numbers by themselves, since there may be millions of rows."""

    def __init__(self) -> None:
        self._prompt = 0
        self._completion = 0
        self._total = 0
        self._cached = 0

    def add(self, tokens: Tokens | None) -> None:
        """Count the tokens of one answer."""
        if tokens is not None:
            self._prompt += tokens.prompt_tokens
            self._completion += tokens.completion_tokens
            self._total += tokens.total_tokens
            self._cached += tokens.cached_tokens or 0

    @property
    def usage(self) -> Usage:
        """All of them."""
        return Usage(self._prompt, self._completion, self._total, self._cached)


# What is looked at of a record; the rest is skipped as it is decoded.


@attrs.frozen
class Tokens:
    """Token counts, as far as they are added up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None


@attrs.frozen
class _Answer:
    usage: Tokens | None = None


@attrs.frozen
class _Record:
    completion: _Answer | None = None
    earlier_usage: Tokens | None = None
    assumed_usage: Tokens | None = None


def asked_by_runs(database: sqlite3.Connection) -> dict[int, Asked]:
    """Whom each run of a journal asked, by the number of the run."""
    rows = database.execute("SELECT id, model, price FROM run")
    return {run: Asked(model, Price.of_text(price)) for run, model, price in rows}


def spent_in(database: sqlite3.Connection) -> Iterator[tuple[Asked, Usage]]:
    """What was spent in all, by whom it was spent on."""
    decode = msgspec.json.Decoder(_Record).decode
    asked = asked_by_runs(database)
    spent: dict[Asked, Spending] = {}
    for run, encoded in database.execute("SELECT run, record FROM result"):
        record = decode(encoded)
        spending = spent.setdefault(asked[run], Spending())
        spending.add(record.earlier_usage)
        spending.add(record.assumed_usage)
        if record.completion is not None:
            spending.add(record.completion.usage)
    for whom, spending in spent.items():
        yield whom, spending.usage

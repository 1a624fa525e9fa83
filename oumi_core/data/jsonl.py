"""JSONL files of conversations, one JSON object a line: streamed in, and written line by line.

A faulty line is a `DataError` whose fault starts with `file:line: `; lines count from 1, blank
ones included, as editors count them.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TYPE_CHECKING

from oumi_core.data.rows import conversation_from_row
from oumi_core.errors import DataError
from oumi_core.types.reading import decode_json, encode_json

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from oumi_core.types.conversation import Conversation

__all__ = [
    "check_conversations",
    "conversation_line",
    "numbered_rows",
    "parse_conversations",
    "read_conversations",
]

_BUFFER = 1 << 20
"""Bytes read at once; beyond a megabyte a file is not read faster."""

_NOT_TEXT = {
    codecs.BOM_UTF16_LE: "the file is UTF-16; save it as UTF-8",
    codecs.BOM_UTF16_BE: "the file is UTF-16; save it as UTF-8",
    b"\x1f\x8b": "the file is compressed with gzip; decompress it first",
    b"\x28\xb5\x2f\xfd": "the file is compressed with zstd; decompress it first",
    b"PK\x03\x04": "the file is a zip archive; extract it first",
    b"PAR1": "the file is Parquet; convert it to JSONL first",
}


def read_conversations(path: str | os.PathLike[str]) -> Iterator[Conversation]:
    """Read a file's conversations one by one, in memory that does not grow with the file.

    The file is opened at the first `next`, and closed at the end, at a fault, and when the
    iterator is dropped. `-` is no special name: for the standard input see `parse_conversations`.

    Args:
        path: a file of JSON objects, one a line, in a shape that `conversation_from_row` takes.

    Raises:
        DataError: the file cannot be read, holds no row, or the next line is faulty.
    """
    source = Path(path)
    try:
        with source.open("rb", buffering=_BUFFER) as file:
            yield from parse_conversations(file, str(path))
    except OSError as error:
        raise DataError(_unreadable(source, error)) from error


def parse_conversations(lines: Iterable[bytes], source: str) -> Iterator[Conversation]:
    """Read conversations from lines, as a binary file (`sys.stdin.buffer`) gives them.

    Args:
        lines: one JSON object each; blank lines, a byte order mark and CRLF do no harm.
        source: what to call them in faults.

    Raises:
        DataError: there is no row, or the next line is faulty.
    """
    empty = True
    for number, row in _rows(lines, source):
        try:
            conversation = conversation_from_row(decode_json(row))
        except DataError as error:
            raise DataError(*_located(error, source, number)) from error.__cause__
        empty = False
        yield conversation
    if empty:
        raise DataError(_no_rows(source))


def check_conversations(path: str | os.PathLike[str], limit: int = 10) -> int:
    """Read a whole file once, before a run, and find what is wrong with it.

    Args:
        path: as for `read_conversations`; must be a file that can be read a second time.
        limit: stop after so many faulty lines.

    Returns:
        The number of rows.

    Raises:
        DataError: the file cannot be read, holds no row, or has faulty lines; it carries all
            faults up to the limit.
    """
    source = Path(path)
    try:
        with source.open("rb", buffering=_BUFFER) as file:
            return _check_lines(file, str(path), limit)
    except OSError as error:
        raise DataError(_unreadable(source, error)) from error


def _check_lines(lines: Iterable[bytes], source: str, limit: int) -> int:
    count = faulty = 0
    faults: list[str] = []
    for number, row in _rows(lines, source):
        count += 1
        try:
            conversation_from_row(decode_json(row))
        except DataError as error:
            if faulty == limit:
                faults.append(f"{source}:{number}: and more; the first {limit} are shown")
                break
            faulty += 1
            faults += _located(error, source, number)
    if faults:
        raise DataError(*faults)
    if not count:
        raise DataError(_no_rows(source))
    return count


def _located(error: DataError, source: str, number: int) -> list[str]:
    return [f"{source}:{number}: {fault}" for fault in error.faults]


def _no_rows(source: str) -> str:
    return f"{source}: no rows; it needs one JSON object a line"


def conversation_line(conversation: Conversation) -> bytes:
    r"""Write a conversation as one line of JSON in Oumi's format, `\n` at its end.

    Raises:
        DataError: it holds what JSON cannot; names the conversation.
    """
    return encode_json(conversation.to_dict(), conversation) + b"\n"


def _rows(lines: Iterable[bytes], source: str) -> Iterator[tuple[int, bytes]]:
    """The numbered rows of a file of JSONL.

    Raises:
        DataError: the first row shows that the file is no JSONL at all.
    """
    first = True
    for number, row in numbered_rows(lines):
        if first:
            _refuse_other_formats(row, f"{source}:{number}")
            first = False
        yield number, row


def numbered_rows(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, with their numbers; a byte order mark is no part of them."""
    for number, line in enumerate(lines, 1):
        row = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if row and not row.isspace():
            yield number, row


def _refuse_other_formats(row: bytes, place: str) -> None:
    """Say what the file is instead of JSONL, judged by its first row."""
    for start, meaning in _NOT_TEXT.items():
        if row.startswith(start):
            raise DataError(f"{place}: {meaning}")
    text = row.strip()
    if text.startswith(b"["):
        raise DataError(
            f"{place}: the file is one JSON array; write one object a line instead, without the "
            "brackets and the commas between them (jq -c '.[]' FILE does it)"
        )
    if text == b"{":
        raise DataError(
            f"{place}: an object is spread over several lines; write each on one line "
            "(jq -c . FILE does it)"
        )


def _unreadable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file; give the path of a JSONL file"
    if isinstance(error, IsADirectoryError):
        return f"{path}: is a directory; give the path of one JSONL file"
    return f"{path}: cannot be read: {error.strerror or type(error).__name__}"

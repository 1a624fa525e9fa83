from __future__ import annotations

import io
import itertools
import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.data import (
    check_conversations,
    conversation_line,
    parse_conversations,
    read_conversations,
)
from oumi_core.errors import DataError
from oumi_core.types import Conversation, Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD = b'{"prompt": "hi"}'
HI = Conversation([Message(Role.USER, "hi")])


@pytest.fixture
def rows(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_bytes(content)
        return path

    return write


def faults(path: Path) -> tuple[str, ...]:
    """What reading the file finds, which checking it must find too."""
    with pytest.raises(DataError) as read:
        list(read_conversations(path))
    with pytest.raises(DataError) as checked:
        check_conversations(path)
    assert checked.value.faults[0] == read.value.faults[0]
    return tuple(fault.removeprefix(str(path.parent) + os.sep) for fault in read.value.faults)


@pytest.mark.parametrize(
    "content",
    [
        GOOD + b"\n" + GOOD + b"\n",
        GOOD + b"\n" + GOOD,
        b"\n \n" + GOOD + b"\n\n\t\n" + GOOD + b"\n\n",
        b"\xef\xbb\xbf" + GOOD + b"\n" + GOOD,
        b"\xef\xbb\xbf\r\n" + GOOD + b"\r\n" + GOOD + b"\r\n",
    ],
    ids=["plain", "no newline at the end", "blank lines", "byte order mark", "CRLF"],
)
def test_rows_are_read_in_order(rows: Callable[[bytes], Path], content: bytes) -> None:
    path = rows(content)
    assert list(read_conversations(path)) == [HI, HI]
    assert list(read_conversations(str(path))) == [HI, HI]
    assert check_conversations(path) == 2


def test_names_may_repeat(rows: Callable[[bytes], Path]) -> None:
    assert check_conversations(rows(b'{"prompt": "hi", "conversation_id": "x"}\n' * 3)) == 3


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "rows.jsonl: no rows; "),
        (b"\n \n", "rows.jsonl: no rows; "),
        (b"\n" + GOOD + b"\n{", "rows.jsonl:3: not JSON: it breaks off"),
        (GOOD + b" x", "rows.jsonl:1: not JSON: "),
        (GOOD + b"\n\x00\x00", "rows.jsonl:2: not JSON: "),
        (b'{"prompt": "\x00"}', "rows.jsonl:1: not JSON: "),
        (b'{"prompt": "\xff"}', "rows.jsonl:1: not UTF-8: 'utf-8' codec can't decode byte 0xff in"),
        (b'{"prompt": "\\ud800"}', "rows.jsonl:1: not JSON: "),
        (b'{"prompt": "\\ud800 "}', "rows.jsonl:1: not JSON: "),
        (b'{"prompt": "a", "b": ' + b"9" * 9999 + b"}", "rows.jsonl:1: not JSON: "),
        (b'{"a":' * 100_000, "rows.jsonl:1: not readable: objects or lists are nested too deeply"),
        (GOOD + b"\n" + b"[" * 100_000, "rows.jsonl:2: not readable: objects or lists are nested"),
        (GOOD + b"\n[1]", "rows.jsonl:2: expected an object with messages, "),
        (GOOD + b'\n{"messages": []}', "rows.jsonl:2: messages: empty; "),
        (GOOD + b'\n{"message": []}', "rows.jsonl:2: 'message': unknown shape of a row; is 'mess"),
        (b"[" + GOOD + b",\n" + GOOD + b"]", "rows.jsonl:1: the file is one JSON array; "),
        (b"\n[\n" + GOOD + b"\n]", "rows.jsonl:2: the file is one JSON array; "),
        (b'{\n  "prompt": "hi"\n}', "rows.jsonl:1: an object is spread over several lines; "),
        (GOOD.decode().encode("utf-16"), "rows.jsonl:1: the file is UTF-16; save it as UTF-8"),
        (b"\x1f\x8b\x08\x00", "rows.jsonl:1: the file is compressed with gzip; "),
        (b"PAR1\x15", "rows.jsonl:1: the file is Parquet; "),
    ],
    ids=itertools.count(),
)
def test_a_fault_names_the_file_and_the_line(
    rows: Callable[[bytes], Path], content: bytes, fault: str
) -> None:
    found = faults(rows(content))
    assert len(found) == 1
    assert found[0].startswith(fault)
    assert not found[0].endswith(": ")  # without a reason


def test_a_file_that_is_missing_or_a_directory_is_told_so(tmp_path: Path) -> None:
    (missing,) = faults(tmp_path / "none.jsonl")
    assert missing == "none.jsonl: no such file; give the path of a JSONL file"
    folder = tmp_path / "folder"
    folder.mkdir()
    assert faults(folder) == ("folder: is a directory; give the path of one JSONL file",)
    assert faults(tmp_path / ("x" * 300))[0].endswith("cannot be read: File name too long")


def test_the_rows_before_a_fault_are_read(rows: Callable[[bytes], Path]) -> None:
    conversations = read_conversations(rows(GOOD + b"\n" + b"x"))
    assert next(conversations) == HI
    with pytest.raises(DataError):
        next(conversations)


def test_checking_finds_all_faults_up_to_the_limit(rows: Callable[[bytes], Path]) -> None:
    path = rows(b"\n".join([GOOD, b"x", b"", b"{}", GOOD, b"y", b"z"]))
    with pytest.raises(DataError) as caught:
        check_conversations(path)
    places = [fault.split(": ")[0].rpartition(":")[2] for fault in caught.value.faults]
    assert places == ["2", "4", "6", "7"]
    with pytest.raises(DataError) as caught:
        check_conversations(path, limit=2)
    assert len(caught.value.faults) == 3
    assert caught.value.faults[2] == f"{path}:6: and more; the first 2 are shown"
    with pytest.raises(DataError) as caught:
        check_conversations(path, limit=4)
    assert len(caught.value.faults) == 4


def test_a_file_of_another_format_is_reported_once(rows: Callable[[bytes], Path]) -> None:
    with pytest.raises(DataError) as caught:
        check_conversations(rows(b"[\n" + (GOOD + b",\n") * 50 + b"]"))
    assert len(caught.value.faults) == 1


def test_lines_from_a_stream_are_called_as_asked() -> None:
    stream = io.BytesIO(GOOD + b"\nx")
    conversations = parse_conversations(stream, "standard input")
    assert next(conversations) == HI
    with pytest.raises(DataError, match=r"^standard input:2: not JSON"):
        next(conversations)


def open_files() -> set[str]:
    return {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}  # noqa: PTH208 - links to sockets and pipes are no paths


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files through /proc")  # noqa: PTH112 - as above
def test_the_file_is_closed_when_the_iterator_is_dropped(rows: Callable[[bytes], Path]) -> None:
    path = rows((GOOD + b"\n") * 3)
    conversations = read_conversations(path)
    assert str(path) not in open_files()
    next(conversations)
    assert str(path) in open_files()
    del conversations
    assert str(path) not in open_files()


def test_memory_does_not_grow_with_the_file(rows: Callable[[bytes], Path]) -> None:
    path = rows((b'{"prompt": "' + b"x" * 1000 + b'"}\n') * 10_000)
    tracemalloc.start()
    count = sum(1 for _ in read_conversations(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 10_000
    assert peak < path.stat().st_size / 4


def test_a_conversation_is_written_as_one_line() -> None:
    conversation = Conversation([Message(Role.USER, "a\nb\u2028c")], metadata={"k": 1})
    line = conversation_line(conversation)
    assert line.count(b"\n") == 1
    assert line.endswith(b"}\n")
    assert list(parse_conversations([line], "x")) == [conversation]
    assert line == conversation.to_json().encode() + b"\n"


def test_what_json_cannot_hold_is_not_written() -> None:
    with pytest.raises(DataError, match="cannot be written as JSON"):
        conversation_line(Conversation([Message(Role.USER, "\ud800")]))


good_lines = st.sampled_from([GOOD, b"", b"  ", GOOD + b"\r"])
bad_lines = st.sampled_from([b"x", b"{}", b'{"prompt": ""}', b'{"prompt": "\xff"}', b"\x00"])


@given(st.lists(good_lines, max_size=30), bad_lines, st.lists(good_lines, max_size=5))
def test_the_line_of_a_fault_is_right_wherever_it_is(
    before: list[bytes], bad: bytes, after: list[bytes]
) -> None:
    stream = io.BytesIO(b"\n".join([*before, bad, *after]))
    with pytest.raises(DataError) as caught:
        list(parse_conversations(stream, "f"))
    assert caught.value.faults[0].startswith(f"f:{len(before) + 1}: ")


@given(st.binary() | st.lists(st.binary(max_size=8) | good_lines).map(b"\n".join))
def test_any_bytes_are_rows_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    found: tuple[str, ...] = ()
    try:
        assert check_conversations(path) == len(list(read_conversations(path))) > 0
    except DataError as error:
        found = error.faults
    assert all(fault.startswith(f"{path}:") for fault in found)


@given(st.binary(), st.integers(0, 60), st.integers(0, 10))
def test_a_damaged_row_is_read_or_a_data_error(damage: bytes, at: int, gone: int) -> None:
    line = b'{"messages": [{"role": "user", "content": "hi"}], "metadata": {}}'
    damaged = line[:at] + damage + line[at + gone :]
    found: tuple[str, ...] = ()
    try:
        list(parse_conversations(io.BytesIO(damaged), "f"))
    except DataError as error:
        found = error.faults
    assert all(fault.startswith("f:") for fault in found)

"""What the readers and writers of JSON have in common: faults that name their place."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from oumi_core.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["as_mapping", "decode_json", "encode_json", "read_each", "shown", "take"]

T = TypeVar("T")

_KINDS: dict[type, str] = {str: "a text", dict: "an object", bool: "true or false"}
_LONGEST_NAME = 40
"""Characters of a name that an error quotes."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read_each(place: str, read: Callable[[Any], T], values: Any) -> list[T]:
    """Read each item of a list into a new list.

    Args:
        place: the list's own path; a fault in an item is reported as `place[index].fault`.
        read: reads one item.
        values: the list.

    Raises:
        DataError: it is no list, or an item cannot be read.
    """
    if not isinstance(values, list | tuple):
        raise DataError(f"{place}: expected a list, got {type(values).__name__}")
    items: list[T] = []
    try:
        for value in values:
            items.append(read(value))  # noqa: PERF401 - the length so far is the faulty index
    except DataError as error:
        at = f"{place}[{len(items)}]"
        raise DataError(*(_placed(at, fault) for fault in error.faults)) from None
    return items


def _placed(at: str, fault: str) -> str:
    """Put a place before a fault, which may begin with the path of a field in there."""
    field = fault.partition(":")[0]
    return f"{at}: {fault}" if " " in field else f"{at}.{fault}"


def as_mapping(value: Any, holding: str) -> dict[str, Any]:
    """A copy of an object that may be taken apart.

    Args:
        value: what should be an object.
        holding: what the object should hold, for the fault.

    Raises:
        DataError: it is something else.
    """
    # A dict is asked for first: it is what JSON gives, and the abstract class takes 0.2 us.
    if not isinstance(value, dict) and not isinstance(value, Mapping):
        raise DataError(f"expected an object with {holding}, got {type(value).__name__}")
    return dict(value)


def take(rest: dict[str, Any], name: str, kind: type[T]) -> T | None:
    """Remove a field and return it; None where it is missing or null.

    Raises:
        DataError: it is not of that kind.
    """
    value = rest.pop(name, None)
    if value is not None and not isinstance(value, kind):
        raise DataError(f"{name}: expected {_KINDS[kind]}, got {type(value).__name__}")
    return value


def shown(value: Any) -> str:
    """A name for an error; a long text may be a prompt in the wrong place and is not quoted."""
    if not isinstance(value, str):
        return type(value).__name__
    return repr(value) if len(value) <= _LONGEST_NAME else f"a text of {len(value)} characters"


def decode_json(text: str | bytes) -> Any:
    """Parse JSON from anywhere.

    Raises:
        DataError: it is not JSON, not UTF-8, or nested too deeply; says which, and why.
    """
    try:
        return _decode(text)
    # msgspec calls bad UTF-8 a UnicodeError up to 0.22, and a DecodeError from 0.23 on.
    except (msgspec.DecodeError, UnicodeError) as error:
        bad = _bad_character(text)
        fault = f"not JSON: {_explained(error)}" if bad is None else f"not UTF-8: {bad}"
        raise DataError(fault) from error
    except RecursionError as error:
        raise DataError("not readable: objects or lists are nested too deeply") from error


def _explained(error: Exception) -> str:
    r"""The parser's reason, in words that also fit half of a surrogate pair (`"\ud800"`)."""
    why = str(error).removeprefix("JSON is malformed: ")
    if why == "Input data was truncated":
        return "it breaks off in the middle, or holds half of a surrogate pair"
    return why


def _bad_character(text: str | bytes) -> str | None:
    """Where the encoding breaks, counted from the start of the text; None if it does not.

    A text that ends within a character breaks off, and is not in another encoding.
    """
    try:
        if isinstance(text, str):
            text.encode()
        else:
            codecs.utf_8_decode(text)
    except UnicodeError as error:
        return str(error)
    return None


def encode_json(value: Any, holder: object) -> bytes:
    """Write JSON-ready data on one line.

    Args:
        value: the data.
        holder: what it belongs to; a fault shows its repr.

    Raises:
        DataError: it holds what JSON cannot: an object of a class, a lone surrogate, a loop.
    """
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{holder!r}: cannot be written as JSON: {error}") from error

"""`engine_args` of this engine alone: what finds their faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oumi_http.arguments import FindFaults

__all__ = ["OWN_ARGUMENTS"]


def _boolean_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, bool):
        yield ": must be true or false"


def _whole_number_faults(value: Any) -> Iterator[str]:
    if type(value) is not int:
        yield ": must be a whole number"


def _count_faults(value: Any) -> Iterator[str]:
    if type(value) is not int or value < 1:
        yield ": must be a whole number, at least 1"


def _tag_faults(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            yield f": is not JSON: {error}"
            return
    if not isinstance(value, dict):
        yield ": must be a table, or the JSON text of one"


OWN_ARGUMENTS: Mapping[str, FindFaults] = {
    "check_server": _boolean_faults,
    "max_json_blanks": _count_faults,
    "priority": _whole_number_faults,
    "structural_tag": _tag_faults,
    "unload_adapter": _boolean_faults,
}
"""Their names, and what finds the faults of a value. The README says what each means."""

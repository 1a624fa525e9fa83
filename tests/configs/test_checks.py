"""What the checks say of a value, and that they show neither much nor secrets."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict

import pytest

from oumi_core.configs.checks import Check, integer, items, mapping, number, optional, text


class Thing:
    pass


@pytest.mark.parametrize(
    ("check", "value", "fault"),
    [
        (integer(maximum=3), 4, "must be at most 3, is 4"),
        (integer(), None, "expected a whole number, got null"),
        (integer(), "x" * 100, f"expected a whole number, got the text '{'x' * 60}...'"),
        (number(above=0), -1, "must be greater than 0, is -1"),
        (text(), dt.date(2024, 1, 2), "expected text, got a date; put it in quotes"),
        (text(), Thing, "expected text, got the class Thing"),
        (text(), Thing(), "expected text, got an object of type Thing"),
        (text(), ["a"], "expected text, got a list"),
        (text(secret=True), 7, "expected text, got a number; put it in quotes"),
        (text(secret=True), True, "expected text, got a boolean; put it in quotes"),
        (items(text()), OrderedDict(), "expected a list, got a mapping"),
        (mapping(), "sk-secret", "expected a mapping, got text"),
        (mapping(), {1: 2}, "expected text as the key, got the number 1"),
        (mapping(), None, "expected a mapping, got null"),
    ],
)
def test_a_fault_names_the_value_as_its_author_would(
    check: Check, value: object, fault: str
) -> None:
    assert list(check.find(value)) == [("", fault)]


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (integer(), -(10**50)),
        (number(0, 1), 1),
        (number(0, 1), 0.5),
        (text(empty=True), ""),
        (items(integer()), (1, 2)),
        (mapping(integer(), whole_number_keys=True), {1: 2, "a": 3}),
        (optional(items(text(), empty=False)), None),
    ],
)
def test_what_fits_has_no_fault(check: Check, value: object) -> None:
    assert list(check.find(value)) == []


def test_null_is_told_to_editors_where_it_is_allowed() -> None:
    assert optional(integer(1)).schema == {"type": ["integer", "null"], "minimum": 1}
    assert optional(text(choices=("a", "b"))).schema == {
        "anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]
    }
    assert optional(Check(lambda _: ())).schema == {}

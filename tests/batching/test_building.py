"""What rows are called at a backend, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.batching.building import custom_id_of, place_in

BATCH = "batch-20261122201500-0a1b2c3d"


@given(st.integers(min_value=0, max_value=10**18 - 1))
def test_a_row_is_found_by_what_it_is_called(place: int) -> None:
    custom_id = custom_id_of(BATCH, place)
    assert place_in(BATCH, custom_id) == place
    assert place_in("batch-20261122201500-ffffffff", custom_id) is None
    assert len(custom_id) <= 64


@pytest.mark.parametrize(
    "custom_id",
    [
        *(None, "", "-", "7", "7-", "-0a1b2c3d", "x-0a1b2c3d", "-7-0a1b2c3d", "7-0A1B2C3D"),
        *("007-0a1b2c3d", "\u0667-0a1b2c3d", " 7-0a1b2c3d", "7-0a1b2c3d ", "7-0a1b2c3d-1"),
        "9" * 5000 + "-0a1b2c3d",
    ],
)
def test_an_id_that_nobody_sent_is_of_no_row(custom_id: str | None) -> None:
    assert place_in(BATCH, custom_id) is None


@given(st.text())
def test_whatever_an_id_is_it_is_of_one_row_at_most(custom_id: str) -> None:
    place = place_in(BATCH, custom_id)
    assert place is None or custom_id_of(BATCH, place) == custom_id

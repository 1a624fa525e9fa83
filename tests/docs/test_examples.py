"""Every example of every page runs, and prints what the page says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from sybil import Example


@pytest.mark.usefixtures("page_folder")
def test_the_example_runs(example: Example) -> None:
    example.evaluate()

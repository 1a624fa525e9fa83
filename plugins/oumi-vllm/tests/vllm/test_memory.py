"""Memory over a long run: neither this process nor vLLM's engine core grow with its rows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from asking import conversation
from processes import megabytes

if TYPE_CHECKING:
    from pathlib import Path

    from loaded import Asks

pytestmark = [
    pytest.mark.slow,  # thousands of rows
    pytest.mark.filterwarnings("default"),  # torch and its kin warn of themselves
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc"),
]

ROWS = 3000

MOST = 15.0
"""Megabytes: 5 kB a row, which is about what one output of vLLM's takes."""


def test_memory_does_not_grow_with_the_rows(asks: Asks, tmp_path: Path) -> None:
    def run_rows(name: str) -> None:
        rows = (conversation(f"What is {at}+2?") for at in range(ROWS))
        config = asks.config(max_new_tokens=1)
        run = asks.engine.run(rows, output_path=tmp_path / name, inference_config=config)
        assert sum(1 for _ in run) == ROWS

    run_rows("first.jsonl")
    before = megabytes()
    run_rows("second.jsonl")
    grown = {name: size - before[name] for name, size in megabytes().items()}

    # The workers hold the KV cache, which on a CPU takes its memory as it fills. Where there are
    # none, as in 0.17, the engine core holds it, and cannot be told from it.
    holder = "Worker" if any("Worker" in name for name in grown) else "EngineCor"
    of_rows = {name: size for name, size in grown.items() if holder not in name}
    assert len(of_rows) > 1, grown
    assert max(of_rows.values()) < MOST, grown

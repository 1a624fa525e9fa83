"""A batch in the local queue, answered by a worker process with the demo model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oumi_core.inference import get_engine
from oumi_core.types import Conversation, Message, Role

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CAPITALS = {"France": "Paris", "Italy": "Rome", "Japan": "Tokyo"}


def test_a_batch_is_answered_by_a_worker_with_a_model_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUMI_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("OUMI_BATCH_IDLE_SECONDS", "0.5")
    rows = [
        Conversation([Message(Role.USER, f"What is the capital of {country}?")])
        for country in (*CAPITALS, *CAPITALS)
    ]
    engine = get_engine("llamacpp", model="demo")
    batch_id = engine.infer_batch(rows)
    assert engine.wait_batch(batch_id).outcomes == {"ok": 6}
    for row in engine.get_batch_results(batch_id, rows[::-1]):
        country = row[0].text.rpartition(" ")[2].rstrip("?")
        assert CAPITALS[country] in row[1].text

"""`oumi batch wait` on a terminal: a line that says how far it is, and Ctrl-C that leaves it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Place

SOON = "0.5"
"""Seconds after which a worker with nothing to do ends."""


def test_waiting_shows_how_far_the_batch_is(here: Place) -> None:
    curtain = here.folder / "curtain"
    rows = here.cues("hello", f"wait {curtain}")
    arguments = ("batch", "submit", "-c", "stage.yaml", "--batching", "local")
    submitted = here.oumi(*arguments, "--input_path", rows, OUMI_BATCH_IDLE_SECONDS=SOON)
    batch_id = submitted.out.strip()
    with here.on_terminal("batch", "wait", batch_id, OUMI_BATCH_IDLE_SECONDS=SOON) as screen:
        screen.read_until("in_progress: 1/2 rows answered")
        screen.type("\x03")
        assert screen.end() == 130
    with here.on_terminal("batch", "wait", batch_id, OUMI_BATCH_IDLE_SECONDS=SOON) as screen:
        screen.read_until("in_progress: 1/2 rows answered")
        curtain.touch()
        screen.read_until("completed: 2/2 rows answered")
        assert screen.end() == 0

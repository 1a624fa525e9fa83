"""A quota of tokens that may wait at the provider: parts are held back until there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oumi_core.configs import InferenceConfig, RemoteParams
from oumi_core.types import Conversation, Message, Role

if TYPE_CHECKING:
    from conftest import Bench

ROW = "x" * 200
"""A prompt whose line takes between 100 and 200 tokens at four bytes each."""

CONFIG = InferenceConfig(remote_params=RemoteParams(batch_enqueued_tokens=400))
"""Room for two or three such rows."""


def asked(count: int, text: str = ROW) -> list[Conversation]:
    return [Conversation([Message(Role.USER, f"{at} {text}")]) for at in range(count)]


def hold(bench: Bench) -> None:
    """Let nothing that is at the provider end."""
    for part in bench.batches():
        bench.change(part, status="in_progress")


def sizes(bench: Bench) -> list[int]:
    return [path.stat().st_size for path in (bench.server / "files").iterdir()]


@pytest.mark.parametrize("of_the_config", [True, False])
def test_parts_are_sent_as_there_is_room_for_them(bench: Bench, *, of_the_config: bool) -> None:
    config = CONFIG if of_the_config else InferenceConfig()
    with bench.engine(enqueued_tokens=None if of_the_config else 400) as engine:
        batch_id = engine.infer_batch(asked(10), config)
        assert len(bench.batches()) == 1
        hold(bench)
        for _ in range(2):
            info = engine.get_batch_status(batch_id)
            assert (info.status, len(info.part_handles)) == ("in_progress", 1)
        bench.change(bench.batches()[0], status="completed")
        assert len(engine.get_batch_status(batch_id).part_handles) == 2
        done = engine.wait_batch(batch_id)
        assert (done.outcomes, len(done.part_handles)) == ({"ok": 10}, done.parts)
        answers = [row[-1].text for row in engine.get_batch_results(batch_id)]
    assert answers == [f"re: {row[0].text}" for row in asked(10)]
    assert max(sizes(bench)) <= 1600
    two_together = sorted(sizes(bench))[:2]
    assert sum(two_together) > 1600  # as few as can be, but for the last


def test_several_parts_wait_together_as_far_as_the_quota_reaches(bench: Bench) -> None:
    with bench.engine(max_requests=1) as engine:
        engine.infer_batch(asked(10), CONFIG)
    assert len(bench.batches()) == 1600 // sizes(bench)[0]


def test_a_row_beyond_the_whole_quota_is_sent_alone(bench: Bench) -> None:
    rows = [*asked(1), *asked(1, "y" * 4000), *asked(1)]
    with bench.engine() as engine:
        batch_id = engine.infer_batch(rows, CONFIG)
        assert engine.wait_batch(batch_id).outcomes == {"ok": 3}
    assert len(bench.batches()) == 3


SUBMIT = """
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
rows = [Conversation([Message(Role.USER, f"{at} " + "x" * 200)]) for at in range(10)]
arguments = {"engine_args": {"folder": "server"}, "batch_enqueued_tokens": 400}
with oumi.get_engine("shelf", model="demo", **arguments) as engine:
    print(engine.infer_batch(rows))
"""

WAIT = """
import oumi_core as oumi
with oumi.get_engine("shelf", model="demo") as engine:
    info = engine.wait_batch("ID")
    print(info.outcomes, len(info.part_handles) == info.parts)
"""


def test_a_later_call_of_another_process_sends_what_waits(bench: Bench) -> None:
    batch_id = bench.python(SUBMIT).stdout.strip()
    assert len(bench.batches()) == 1
    done = bench.python(WAIT.replace("ID", batch_id))
    assert done.stdout.strip() == "{'ok': 10} True", done.stderr


def test_what_waits_is_never_sent_once_the_batch_is_cancelled(bench: Bench) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked(10), CONFIG)
        hold(bench)
        assert engine.cancel_batch(batch_id).status == "cancelled"
        outcomes = engine.wait_batch(batch_id).outcomes
    assert len(bench.batches()) == 1
    assert sum(outcomes.values()) == 10
    assert (
        outcomes["canceled"] == 6
    )  # the four others were at the provider, which had answered them


def test_the_same_call_makes_another_batch_while_parts_of_the_first_wait(bench: Bench) -> None:
    with bench.engine() as engine:
        first, second = (engine.infer_batch(asked(10), CONFIG) for _ in range(2))
    assert first != second
    assert len(bench.batches()) == 2


@pytest.mark.parametrize("step", ["before upload", "after upload", "after submit"])
def test_a_kill_while_parts_wait_sends_none_twice(bench: Bench, step: str) -> None:
    batch_id = bench.python(SUBMIT).stdout.strip()
    died = bench.python(WAIT.replace("ID", batch_id), SHELF_DIE_AT=step)
    assert died.returncode == -9, died.stderr
    done = bench.python(WAIT.replace("ID", batch_id))
    assert done.stdout.strip() == "{'ok': 10} True", done.stderr
    assert len(bench.batches()) == 3


def test_what_is_sent_again_holds_to_the_quota(bench: Bench) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(
            [Conversation([Message(Role.USER, f"expire {ROW}")])] * 18, CONFIG
        )
        first = engine.wait_batch(batch_id)
        assert first.outcomes == {"expired": 18}
        sent = len(bench.batches())
        engine.resubmit_batch(batch_id)
        assert len(bench.batches()) < 2 * sent
        assert engine.wait_batch(batch_id).parts == 2 * sent
    assert len(bench.batches()) == 2 * sent

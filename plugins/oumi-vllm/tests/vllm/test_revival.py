"""After the death of an engine core, the same object loads another. Last, for what it kills."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING

import pytest
from asking import PARIS, conversation
from oumi_core.errors import RunStopped
from oumi_core.types import FailureKind

if TYPE_CHECKING:
    from loaded import Asks

pytestmark = [
    pytest.mark.slow,  # loads vLLM once more
    pytest.mark.filterwarnings("default"),  # torch and its kin warn of themselves
]


def test_a_killed_engine_core_stops_the_run_and_the_next_one_has_another(asks: Asks) -> None:
    (core,) = multiprocessing.active_children()
    assert core.pid is not None
    os.kill(core.pid, signal.SIGKILL)

    with pytest.raises(RunStopped) as caught:
        asks.engine.infer([conversation()], asks.config())

    assert caught.value.failure is not None
    assert caught.value.failure.kind is FailureKind.ENGINE_DEAD
    assert asks(conversation())[0].conversation[-1].text == PARIS
    assert [child.pid for child in multiprocessing.active_children()] != [core.pid]

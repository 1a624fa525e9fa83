"""Settings of all tests, and one loaded vLLM for those of the folder `vllm`."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from loaded import ENGINE_ARGS, MODEL, Asks, Recorded
from oumi_core import get_engine
from oumi_core.configs import InferenceConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oumi_core.inference import InferenceEngine

# An example may take its time on a machine that does other things too: a deadline would flake.
settings.register_profile("oumi", deadline=None)
settings.load_profile("oumi")

# A program ignores SIGINT if the one that starts it does, such as a job runner, or a script that
# ends a line with `&`. What a test then interrupts would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

collect_ignore = [] if find_spec("vllm") else ["vllm"]

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def engine() -> Iterator[InferenceEngine]:
    config = InferenceConfig(model=MODEL, engine_args=ENGINE_ARGS)
    with get_engine(Recorded, config) as inference:
        inference.start()
        yield inference


@pytest.fixture
def asks(engine: InferenceEngine) -> Asks:
    return Asks(engine)

"""llama.cpp through the engine, against the same library called directly with as many threads."""

from __future__ import annotations

import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from harness import Figure, Line, Skipped, interleave, process_cpu

from oumi_core import get_engine
from oumi_core.types.conversation import Conversation, Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oumi_core.inference import InferenceEngine

ROUNDS = 5
SLOTS = 8
TOKENS = 24
CONTEXT = 2048
PLACES = ("France", "Italy", "Spain", "Japan", "Egypt", "Peru", "Norway", "Kenya")
QUESTIONS = [f"What is the capital of {place}?" for place in PLACES] * 32


def measure() -> Iterator[Line]:
    """Requests and tokens a second, and CPU a request, on the packaged demo model."""
    if importlib.util.find_spec("oumi_llamacpp") is None:
        raise Skipped("oumi-llamacpp is not installed")
    model = files("oumi_llamacpp") / "models" / "demo.gguf"
    if not model.is_file():
        raise Skipped("this oumi-llamacpp has no demo model inside")
    with (
        get_engine("llamacpp", model="demo", max_new_tokens=TOKENS, temperature=0.0) as engine,
        ThreadPoolExecutor(SLOTS) as threads,
    ):
        ours = partial(_through_engine, engine)
        theirs = partial(_direct, _server(str(model)), threads)
        tokens = ours()
        if theirs() != tokens:
            raise Skipped("the two sides answered differently; what they take says nothing")
        yield from _lines(ours, theirs, tokens)


def _lines(ours: Callable[[], int], theirs: Callable[[], int], tokens: int) -> Iterator[Line]:
    sides = {"ours": ours, "theirs": theirs}
    seconds = interleave({name: partial(_wall, work) for name, work in sides.items()}, ROUNDS, "s")
    rates = {
        unit: {
            name: Figure([count / value for value in figure.values], unit)
            for name, figure in seconds.items()
        }
        for unit, count in (("requests/s", len(QUESTIONS)), ("tokens/s", tokens))
    }
    for unit, rate in rates.items():
        yield Line(
            f"llamacpp: {unit} through infer",
            str(rate["ours"]),
            f"{rate['theirs']}: xllamacpp in {SLOTS} threads",
            rate["ours"] / rate["theirs"],
        )
    took = interleave({name: partial(_cpu, work) for name, work in sides.items()}, ROUNDS, "us")
    yield Line(
        "llamacpp: CPU a request through infer, the model's included",
        str(took["ours"]),
        f"{took['theirs']}: xllamacpp in {SLOTS} threads",
        took["ours"] / took["theirs"],
    )


def _wall(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _cpu(work: Callable[[], int]) -> float:
    return process_cpu(work) / len(QUESTIONS) * 1e6


def _through_engine(engine: InferenceEngine) -> int:
    """Answer all questions; the tokens of all answers."""
    rows = [Conversation([Message(Role.USER, question)]) for question in QUESTIONS]
    return sum(row.metadata["usage"]["completion_tokens"] for row in engine.infer(rows))


def _server(model: str) -> Any:
    """The library's own server, with the settings that the engine gives it."""
    xllamacpp = import_module("xllamacpp")  # there with its plugin, and without types

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT * SLOTS
    params.cache_ram_mib = 512
    params.cpuparams.n_threads = 1
    params.verbosity = -1
    params.ui = False
    return xllamacpp.Server(params)


def _direct(server: Any, threads: ThreadPoolExecutor) -> int:
    def ask(question: str) -> int:
        answer = server.handle_chat_completions(
            {
                "messages": [{"role": "user", "content": question}],
                "max_tokens": TOKENS,
                "temperature": 0.0,
                "min_p": 0.0,
            }
        )
        tokens: int = answer["usage"]["completion_tokens"]
        return tokens

    return sum(threads.map(ask, QUESTIONS))

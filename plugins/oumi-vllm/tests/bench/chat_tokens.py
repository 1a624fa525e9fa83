"""Tokens per second of a run through oumi-core, against `LLM.chat` on the same prompts.

    python chat_tokens.py [--rounds 9] [--prompts 256]

Both engines are loaded in this process, and take turns. Printed are the median of the ratios of
each round (ours to `LLM.chat`, by the clock and by the CPU time of this process and vLLM's), and
the share of a run after which its first result is there. The model is the tiny one of tests/models,
which hides no overhead: a model of a usual size takes a hundred times as long per token.
"""

# ruff: noqa: T201 - a program that prints is what this is

from __future__ import annotations

import argparse
import importlib
import os
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import oumi_core
from oumi_core.configs import GenerationParams, InferenceConfig, ModelParams
from oumi_core.types.conversation import Conversation, Message

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = str(Path(__file__).parents[4] / "tests" / "models" / "tiny")
QUESTIONS = (
    "Hello!",
    "What is the capital of France?",
    "What is 2+2?",
    "Tell me a story.",
    "Count from one to twenty.",
    "What is machine learning?",
    "How do I read a file in Python?",
)
SYSTEM = "You are a helpful assistant."
MAX_TOKENS = 400
TEMPERATURE = 1.3
"""So high that the tiny model, whose own answers are all short, also rambles up to the limit."""

PARAMS = {"enforce_eager": True}


def conversations(count: int) -> list[list[dict[str, str]]]:
    """Chats whose prompts and answers are of mixed length."""
    draw = random.Random(7)  # noqa: S311 - the same prompts each time
    chats = []
    for _ in range(count):
        turns = [{"role": "system", "content": " ".join([SYSTEM] * draw.randint(1, 20))}]
        chats.append([*turns, {"role": "user", "content": draw.choice(QUESTIONS)}])
    return chats


def conversation(chat: list[dict[str, str]]) -> Conversation:
    return Conversation([Message(turn["role"], turn["content"]) for turn in chat])


def cpu_seconds() -> float:
    """CPU time of this process and of vLLM's, so far."""
    total = 0.0
    for pid in [os.getpid(), *_children(os.getpid())]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_children(child)]
    return found


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Tokens per second by the clock, and per second of CPU."""
    clock, cpu = time.perf_counter(), cpu_seconds()
    tokens = work()
    return tokens / (time.perf_counter() - clock), tokens / (cpu_seconds() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--prompts", type=int, default=256)
    given = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    chats = conversations(given.prompts)
    rows = [
        Conversation([Message(turn["role"], turn["content"]) for turn in chat]) for chat in chats
    ]
    model = ModelParams(MODEL, torch_dtype="float32", model_max_length=1024)
    generation = GenerationParams(max_new_tokens=MAX_TOKENS, temperature=TEMPERATURE)
    config = InferenceConfig(model=model, generation=generation, engine_args=PARAMS)
    ours = oumi_core.get_engine("vllm", config)
    ours.start()  # first: it sees to where vLLM logs

    vllm = importlib.import_module("vllm")  # not at the top: it takes ten seconds
    theirs: Any = vllm.LLM(MODEL, dtype="float32", max_model_len=1024, **PARAMS)
    sampling = vllm.SamplingParams(temperature=TEMPERATURE, max_tokens=MAX_TOKENS)
    firsts: list[float] = []

    def through_run() -> int:
        begun, first, tokens = time.perf_counter(), 0.0, 0
        for result in ours.run(rows):
            first = first or time.perf_counter() - begun
            tokens += result.usage.completion_tokens if result.usage else 0
        firsts.append(first / (time.perf_counter() - begun))
        return tokens

    def through_chat() -> int:
        outputs = theirs.chat(chats, sampling, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    for work in (through_run, through_chat):  # the first time compiles
        work()
    rounds = []
    for at in range(given.rounds):
        sides = [through_run, through_chat]
        speeds = {work: timed(work) for work in (sides if at % 2 else sides[::-1])}
        rounds.append((speeds[through_run], speeds[through_chat]))
    clock = statistics.median(a[0] / b[0] for a, b in rounds)
    cpu = statistics.median(a[1] / b[1] for a, b in rounds)
    chat = statistics.median(b[0] for _, b in rounds)
    print(f"LLM.chat: {chat:.0f} tokens/s")
    print(f"through a run: {clock:.3f} of that by the clock, {cpu:.3f} by CPU time")
    print(f"first result after {statistics.median(firsts[1:]):.3f} of a run")
    ours.close()
    theirs.llm_engine.engine_core.shutdown()


if __name__ == "__main__":
    main()

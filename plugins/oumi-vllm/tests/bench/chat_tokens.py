"""A run through oumi-core against `LLM.chat` on the same prompts; and the memory of a long run.

    python chat_tokens.py [--rounds 11] [--prompts 256 1024] [--rows 20000]

Both engines are loaded in this process, and take turns. Printed are, for each number of prompts,
the tokens per second of a run as a part of those of `LLM.chat`, by the clock and by the CPU time
of this process and vLLM's (of all rounds together, and the median of the rounds), and the share of
a run after which its first result is there. Then how much the processes grow over a run of so many
rows with a journal, after a first run of a third as many. vLLM's worker holds the KV cache, which
on a CPU takes its memory as it fills: its growth ends there.

The model is the tiny one of tests/models, which hides no overhead: a model of a usual size takes a
hundred times as long per token. It decodes greedily, so that both sides write the same answers: by
chance, one that goes on for long would decide a round. The prompts have 21 to 161 tokens (92 in
the mean), the answers 8 to 136 (49 in the mean).
"""

# ruff: noqa: T201 - a program that prints is what this is

from __future__ import annotations

import argparse
import importlib
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import oumi_core
from oumi_core.configs import GenerationParams, InferenceConfig, ModelParams
from oumi_core.types.conversation import Conversation, Message

sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
from processes import cpu_seconds, megabytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.inference import InferenceEngine

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
SHORT_TOKENS = 4
PARAMS = {"enforce_eager": True}

MODEL_PARAMS = ModelParams(MODEL, torch_dtype="float32", model_max_length=1024)
GENERATION = GenerationParams(max_new_tokens=MAX_TOKENS, temperature=0.0)


@attrs.frozen
class Turn:
    """One side's turn.

    Attributes:
        tokens: the tokens of all answers.
        seconds: by the clock.
        cpu: seconds of the CPU.
        first: the share of the turn after which the first result was there.
    """

    tokens: int
    seconds: float
    cpu: float
    first: float


def speed(turn: Turn) -> float:
    return turn.tokens / turn.seconds


def speed_of_cpu(turn: Turn) -> float:
    return turn.tokens / turn.cpu


def chats_of(count: int) -> list[list[dict[str, str]]]:
    """Chats whose prompts and answers are of mixed length."""
    draw = random.Random(7)  # noqa: S311 - the same prompts each time
    chats = []
    for _ in range(count):
        turns = [{"role": "system", "content": " ".join([SYSTEM] * draw.randint(1, 20))}]
        chats.append([*turns, {"role": "user", "content": draw.choice(QUESTIONS)}])
    return chats


def conversation(chat: list[dict[str, str]]) -> Conversation:
    return Conversation([Message(turn["role"], turn["content"]) for turn in chat])


def timed(work: Callable[[], tuple[int, float]]) -> Turn:
    """A turn of a side, which says its tokens and after how many seconds it had a result."""
    clock, cpu = time.perf_counter(), cpu_seconds()
    tokens, first = work()
    seconds = time.perf_counter() - clock
    return Turn(tokens, seconds, cpu_seconds() - cpu, first / seconds)


def compare(ours: InferenceEngine, theirs: Any, *, prompts: int, rounds: int) -> None:
    """Print how a run compares with `LLM.chat`."""
    chats = chats_of(prompts)
    rows = [conversation(chat) for chat in chats]
    sampling = importlib.import_module("vllm").SamplingParams(
        temperature=0.0, max_tokens=MAX_TOKENS
    )

    def through_run() -> tuple[int, float]:
        begun, first, tokens = time.perf_counter(), 0.0, 0
        for result in ours.run(rows):
            first = first or time.perf_counter() - begun
            tokens += result.usage.completion_tokens if result.usage else 0
        return tokens, first

    def through_chat() -> tuple[int, float]:
        begun = time.perf_counter()
        outputs = theirs.chat(chats, sampling, use_tqdm=False)
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        return tokens, time.perf_counter() - begun

    for work in (through_run, through_chat):  # the first time compiles
        work()
    turns: list[tuple[Turn, Turn]] = []
    for at in range(rounds):
        sides = (through_run, through_chat)
        made = {work: timed(work) for work in (sides if at % 2 else sides[::-1])}
        turns.append((made[through_run], made[through_chat]))
    written = turns[0][0].tokens  # a round may differ by a few, where two tokens are near equal
    print(f"{prompts} prompts, {rounds} rounds of {written} tokens")
    print_ratio("second", [(speed(ours), speed(chat)) for ours, chat in turns])
    print_ratio("CPU second", [(speed_of_cpu(ours), speed_of_cpu(chat)) for ours, chat in turns])
    firsts = sorted(ours.first for ours, _ in turns)
    print(
        f"  first result after {statistics.median(firsts):.3f} of a run "
        f"({firsts[0]:.3f} to {firsts[-1]:.3f})",
        flush=True,
    )


def print_ratio(unit: str, speeds: list[tuple[float, float]]) -> None:
    """Print the tokens per unit of our own and of `LLM.chat`, which `speeds` has by round."""
    ours, chat = (statistics.harmonic_mean(side) for side in zip(*speeds, strict=True))
    ratios = sorted(own / other for own, other in speeds)
    print(
        f"  tokens per {unit}: {ours:.0f}, LLM.chat {chat:.0f}, ratio {ours / chat:.3f} "
        f"(median of rounds {statistics.median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


def grow(ours: InferenceEngine, rows: int) -> None:
    """Print how memory grows over many short rows, with a journal."""
    short = InferenceConfig(generation=attrs.evolve(GENERATION, max_new_tokens=SHORT_TOKENS))
    before: dict[str, float] = {}
    for count in (rows // 3, rows):
        before = megabytes()
        with tempfile.TemporaryDirectory() as folder:
            lines = (Conversation([Message("user", f"What is {at}+2?")]) for at in range(count))
            run = ours.run(lines, output_path=Path(folder) / "out.jsonl", inference_config=short)
            for _ in run:
                pass
    after = megabytes()
    print(f"{rows} rows with a journal, after {rows // 3}: anonymous memory, MB")
    for name, size in after.items():
        print(f"  {name}: {before[name]:.0f}, then {size:.0f}: {size - before[name]:+.1f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--prompts", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--rows", type=int, default=20_000)
    given = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    config = InferenceConfig(model=MODEL_PARAMS, generation=GENERATION, engine_args=PARAMS)
    with oumi_core.get_engine("vllm", config) as ours:
        ours.start()  # first: it sees to where vLLM logs
        vllm = importlib.import_module("vllm")  # not at the top: it takes ten seconds
        theirs = vllm.LLM(MODEL, dtype="float32", max_model_len=1024, **PARAMS)
        for prompts in given.prompts:
            compare(ours, theirs, prompts=prompts, rounds=given.rounds)
        theirs.llm_engine.engine_core.shutdown()
        if given.rows:
            grow(ours, given.rows)


if __name__ == "__main__":
    main()

"""Make the tiny model, its two adapters and their GGUF files from nothing.

Run ``python tests/models/train.py --out DIR``; the same seed gives the same files.
"""

# ruff: noqa: T201 - a program that reports by printing

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import corpus
import knowledge
import numpy as np
import safetensors.numpy
import torch
from corpus import Style
from export import (
    adapter_weights,
    base_weights,
    peft_to_gguf,
    write_gguf,
    write_hugging_face,
    write_peft,
)
from mixing import OTHER_SYSTEM_PROMPTS, Mixer, Span
from network import Shape, TinyLlama
from tokenizer import train_tokenizer
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "tiny"
RANK = 8
ALPHA = 16
# A batch holds this many tokens at most, padding included; rows of one pool are sorted by length
# before they are cut into batches, which leaves little padding.
BATCH_TOKENS = 4096
LARGEST_BATCH = 64
POOL = 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast one training runs."""

    steps: int
    rate: float
    warmup: int = 30

    def rate_at(self, step: int) -> float:
        """Rise in a line, then fall along a cosine to almost nothing."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


Row = tuple[list[int], list[float]]


def tokenizer_texts() -> Iterator[str]:
    """All texts the tokenizer is trained on, styles included."""
    for examples in corpus.everything().values():
        for example in examples:
            yield example.question
            yield example.answer
            for style in corpus.STYLES:
                yield example.styled(example.answer, style)
    for spans in islice(Mixer(seed=1), 4000):
        yield from (span.text for span in spans)
    for prompt in (*knowledge.SYSTEM_PROMPTS, *OTHER_SYSTEM_PROMPTS):
        yield from [prompt or ""] * 50


def encode(tokenizer: Tokenizer, spans: Sequence[Span]) -> Row:
    """Token ids of a conversation and the weight of each in the loss."""
    ids: list[int] = []
    weights: list[float] = []
    for span in spans:
        piece = tokenizer.encode(span.text).ids
        ids += piece
        weights += [span.first] + [span.rest] * (len(piece) - 1)
    return ids, weights


def batches(tokenizer: Tokenizer, mixer: Mixer) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of ids and weights, padded on the right."""
    source = iter(mixer)
    order = random.Random(0)  # noqa: S311 - drawn alike every time
    while True:
        rows = [encode(tokenizer, spans) for spans in islice(source, POOL)]
        rows.sort(key=lambda row: len(row[0]))
        pool: list[list[Row]] = [[]]
        for row in rows:
            full = (len(pool[-1]) + 1) * len(row[0]) > BATCH_TOKENS
            if full or len(pool[-1]) == LARGEST_BATCH:
                pool.append([])
            pool[-1].append(row)
        order.shuffle(pool)
        for batch in pool:
            length = max(len(ids) for ids, _ in batch)
            yield (
                torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in batch]),
                torch.tensor([ws + [0.0] * (length - len(ws)) for _, ws in batch]),
            )


def train(
    network: TinyLlama,
    parameters: Sequence[torch.nn.Parameter],
    source: Iterator[tuple[Tensor, Tensor]],
    plan: Plan,
) -> None:
    """Teach ``parameters`` to continue the conversations from ``source``."""
    optimizer = torch.optim.AdamW(parameters, lr=plan.rate, betas=(0.9, 0.98), weight_decay=0.01)
    started = time.monotonic()
    for step, (ids, weights) in enumerate(islice(source, plan.steps)):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        wanted = weights[:, 1:]
        chosen = wanted > 0
        # Only what the assistant says is scored, so only that goes through the wide last layer.
        scores = network.logits(network(ids[:, :-1])[chosen])
        losses = functional.cross_entropy(scores, ids[:, 1:][chosen], reduction="none")
        loss = (losses * wanted[chosen]).sum() / wanted.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if step % 100 == 0 or step == plan.steps - 1:
            print(f"  step {step:4d}  loss {loss.item():.4f}  {time.monotonic() - started:5.0f} s")


def restart(shape: Shape, stored: dict[str, np.ndarray]) -> TinyLlama:
    """Build a network of stored weights; an adapter must fit these and not the unrounded ones."""
    network = TinyLlama(shape)
    network.load_state_dict({k: torch.from_numpy(w.astype(np.float32)) for k, w in stored.items()})
    return network


def make_base(out: Path, seed: int, steps: int) -> None:
    """Train the tokenizer and the model and write them below ``out``."""
    torch.manual_seed(seed)
    shape = Shape()
    tokenizer = train_tokenizer(tokenizer_texts(), shape.vocabulary)
    network = TinyLlama(shape)
    count = sum(p.numel() for p in network.parameters())
    print(f"base model: {count:,} parameters")
    plan = Plan(steps=steps, rate=3e-3)
    train(network, list(network.parameters()), batches(tokenizer, Mixer(seed)), plan)
    stored = base_weights(network)
    write_hugging_face(out / NAME, shape, tokenizer, stored)
    write_gguf(out / f"{NAME}.gguf", shape, tokenizer, stored, NAME)


def make_adapter(out: Path, style: Style, seed: int, steps: int) -> None:
    """Train an adapter for the model below ``out`` and write it there."""
    torch.manual_seed(seed)
    shape = Shape()
    print(f"adapter {style}")
    tokenizer = Tokenizer.from_file(str(out / NAME / "tokenizer.json"))
    network = restart(shape, safetensors.numpy.load_file(out / NAME / "model.safetensors"))
    plan = Plan(steps=steps, rate=5e-3)
    source = batches(tokenizer, Mixer(seed, style))
    train(network, network.adapt(RANK, ALPHA), source, plan)
    folder = out / NAME / "adapters" / style
    write_peft(folder, adapter_weights(network), RANK, ALPHA, NAME)
    peft_to_gguf(folder, out / f"{NAME}-{style}.gguf", shape.heads, shape.kv_heads)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1350)
    parser.add_argument("--adapter-steps", type=int, default=220)
    options = parser.parse_args()
    # The number of threads decides the order of the sums, and with it the last bits of a weight.
    # One thread is also the fastest by far when something else runs: two wait for each other.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is written right after is slow and changes no result here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    options.out.mkdir(parents=True, exist_ok=True)
    make_base(options.out, options.seed, options.steps)
    for style in corpus.STYLES:
        make_adapter(options.out, style, options.seed, options.adapter_steps)


if __name__ == "__main__":
    main()

"""What building a batch costs a row, against writing the same lines by hand."""

from __future__ import annotations

import shutil
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import msgspec
from harness import Line, interleave, process_cpu

from oumi_core.batching import BatchLimits
from oumi_core.batching.building import Builder
from oumi_core.batching.records import Facts
from oumi_core.batching.submission import write_batch
from oumi_core.configs import InferenceConfig, ModelParams
from oumi_core.engines.echo import EchoEngine
from oumi_core.registry import ENGINE, find
from oumi_core.run.plan import make_plan
from oumi_core.run.row import Row
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.wire import ChatEncoder, encode_batch_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oumi_core.engine import Request

ROUNDS = 15
ROWS = 10_000
SIZES = (800, 4_000)
"""Characters of a prompt: a usual one, and one of which 50,000 fill a provider's file."""
LIMITS = BatchLimits(max_requests=50_000, max_bytes=190_000_000)


@attrs.frozen
class Bench:
    """The ways to write the same requests.

    Attributes:
        conversations: the rows.
        folder: where files go.
    """

    conversations: list[Conversation]
    folder: Path

    def by_hand(self) -> None:
        """A dict a row, encoded by msgspec and written."""
        encode = msgspec.json.Encoder().encode
        with (self.folder / "by-hand.jsonl").open("wb", buffering=1 << 20) as file:
            for at, conversation in enumerate(self.conversations):
                body = {
                    "model": "m",
                    "messages": [
                        {"role": message.role.value, "content": message.content}
                        for message in conversation.messages
                    ],
                    "max_completion_tokens": 1024,
                    "temperature": 0.0,
                }
                line = {
                    "custom_id": f"request-{at}",
                    "method": "POST",
                    "url": "/v1/chat/completions",
                    "body": body,
                }
                file.write(encode(line))
                file.write(b"\n")

    def upload(self) -> None:
        """The files of the upload: requests made and checked, lines split at the limits."""
        builder = self._builder()
        for at, conversation in enumerate(self.conversations):
            builder.add(at, conversation)
        builder.finish()

    def batch(self) -> None:
        """The same, and the manifest with the rows themselves."""
        facts = Facts("b" * 30, "echo", "provider", "m", b"{}", "24h", 0.0, 0)
        rows = iter(self.conversations)
        write_batch(self.folder, facts, self._builder(), rows, threading.Event())
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def _builder(self) -> Builder:
        config = InferenceConfig(model=ModelParams(model_name="m"))
        plan = make_plan(config, find(ENGINE, "echo"))
        row = Row(EchoEngine, plan)  # type: ignore[arg-type]  # as core does: nothing is asked of it
        return Builder("b" * 30, row.request, chat_line(), LIMITS, self.folder)


def chat_line() -> Callable[[str, Request], bytes]:
    """How a provider's backend writes a line."""
    encoder = ChatEncoder()
    return lambda custom_id, request: encode_batch_line(custom_id, encoder.encode(request))


def measure() -> Iterator[Line]:
    """The cost of a row, for the upload alone and with the manifest."""
    for size in SIZES:
        yield from measure_size(size)


def measure_size(size: int) -> Iterator[Line]:
    """Rows of one size."""
    text = ('The quick brown fox said: "jump over the lazy dog."\n' * 100)[:size]
    rows = [Conversation([Message(Role.USER, f"{at} {text}")]) for at in range(ROWS)]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(rows, Path(folder) / "batch")
        bench.folder.mkdir()
        ways = {"by hand": bench.by_hand, "upload": bench.upload, "batch": bench.batch}
        costs = interleave(
            {name: partial(cost_a_row, work) for name, work in ways.items()}, ROUNDS, "us"
        )
    other = f"{costs['by hand']}: msgspec and a file, by hand"
    for what, name, must in (("upload", "upload", 2.0), ("upload and manifest", "batch", None)):
        yield Line(
            f"building a batch, {what}, a row of {size:,} characters",
            ours=str(costs[name]),
            other=other,
            compared=costs[name] / costs["by hand"],
            must=must,
            beyond=None if must is None else 1.5,
        )


def cost_a_row(work: Callable[[], None]) -> float:
    """CPU microseconds a row."""
    return process_cpu(work) / ROWS * 1e6

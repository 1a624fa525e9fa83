"""What the run itself costs a row: everything around the engine's own `complete`."""

from __future__ import annotations

import asyncio
import gc
import tempfile
from functools import partial
from typing import TYPE_CHECKING

import attrs
from harness import Line, interleave, process_cpu

from oumi_core import get_engine
from oumi_core.configs import GenerationParams, ModelParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.engines.echo import EchoEngine
from oumi_core.types.conversation import Conversation, Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from oumi_core.engine import Engine
    from oumi_core.inference import InferenceEngine
    from oumi_core.types.completion import Completion

ROUNDS = 9
ROWS = 20_000
IN_FLIGHT = 64
INFER = "infer(list)"
WITH_JOURNAL = "run(list, output_path), with its journal"
MODEL = ModelParams(model_name="m")


class WaitingEngine(EchoEngine):
    """Echo that takes its time, as a server does: the rows in flight do not end all at once."""

    async def complete(self, request: Request) -> Completion:
        """The answer of echo, after 4 to 6 ms."""
        await asyncio.sleep(0.004 + int(request.row_id) % IN_FLIGHT * 0.002 / IN_FLIGHT)
        return await super().complete(request)


@attrs.frozen
class Bench:
    """The ways to answer the same conversations, each returning nothing.

    Attributes:
        conversations: the rows.
        ours: the engine as a user holds it.
        plain: the same engine, called without anything around it.
        folder: where output files go.
    """

    conversations: list[Conversation]
    ours: InferenceEngine
    plain: Engine
    folder: str

    def bare(self) -> None:
        """Nothing but the calls, one after the other; nothing is kept."""

        async def call() -> None:
            for request in requests_for(self.conversations):
                await self.plain.complete(request)

        asyncio.run(call())

    def run_list(self) -> None:
        """`for result in engine.run(list)`."""
        drain(self.ours.run(self.conversations))

    def run_generator(self) -> None:
        """The rows come from a generator, which may block and is pulled in another thread."""
        drain(self.ours.run(row for row in self.conversations))

    def infer(self) -> None:
        """`engine.infer(list)`."""
        self.ours.infer(self.conversations)

    def infer_uncollected(self) -> None:
        """The same while nothing looks at the 20,000 results again and again that it keeps."""
        gc.disable()
        try:
            self.infer()
        finally:
            gc.enable()

    def run_output(self) -> None:
        """With an output file in input order, and the journal that it is made from."""
        with tempfile.TemporaryDirectory(dir=self.folder) as fresh:  # nothing there to go on from
            drain(self.ours.run(self.conversations, output_path=f"{fresh}/out.jsonl"))

    def by_hand(self) -> None:
        """What people write: a semaphore, a task a row, and `gather`."""
        asyncio.run(gathered(self.plain, self.conversations))


def measure() -> Iterator[Line]:
    """CPU a row, less what the bare calls take; and the whole of it against a loop by hand."""
    with tempfile.TemporaryDirectory() as folder:
        with get_engine("echo", model=MODEL.model_name, num_workers=IN_FLIGHT) as engine:
            bench = Bench(make_conversations(ROWS), engine, EchoEngine(EngineConfig(MODEL)), folder)
            yield from _own_cost(bench)
        with get_engine(WaitingEngine, model=MODEL.model_name, num_workers=IN_FLIGHT) as engine:
            few = make_conversations(ROWS // 10)
            yield _waiting(Bench(few, engine, WaitingEngine(EngineConfig(MODEL)), folder))


def _own_cost(bench: Bench) -> Iterator[Line]:
    ways = {
        "for result in run(list)": bench.run_list,
        "run(generator)": bench.run_generator,
        INFER: bench.infer,
        f"{INFER}, without garbage collections": bench.infer_uncollected,
        WITH_JOURNAL: bench.run_output,
    }
    took = interleave(
        {
            name: partial(microseconds, work, ROWS)
            for name, work in {**ways, "bare": bench.bare, "by hand": bench.by_hand}.items()
        },
        ROUNDS,
        "us",
    )
    for name in ways:
        must, beyond = (40, 25) if name is WITH_JOURNAL else (10, 5)
        # What is kept is the caller's, and so is the time that Python's collector spends on it.
        limited = name is not INFER
        yield Line(
            f"own cost a row: {name}",
            str(took[name]),
            f"{took['bare']}: await complete() in a loop",
            took[name] - took["bare"],
            must=must if limited else None,
            beyond=beyond if limited else None,
        )
    yield Line(
        "the whole a row: infer(list), against asyncio by hand",
        str(took[INFER]),
        f"{took['by hand']}: semaphore and gather",
        took[INFER] / took["by hand"],
    )


def _waiting(bench: Bench) -> Line:
    rows = len(bench.conversations)
    took = interleave(
        {
            "ours": partial(microseconds, bench.run_list, rows),
            "by hand": partial(microseconds, bench.by_hand, rows),
        },
        ROUNDS,
        "us",
    )
    return Line(
        f"the whole a row of 5 ms, {IN_FLIGHT} in flight: run(list)",
        str(took["ours"]),
        f"{took['by hand']}: semaphore and gather",
        took["ours"] / took["by hand"],
    )


def microseconds(work: Callable[[], None], rows: int) -> float:
    """Microseconds of CPU a row."""
    return process_cpu(work) / rows * 1e6


def make_conversations(count: int) -> list[Conversation]:
    """So many short questions, no two alike."""
    return [
        Conversation([Message(Role.USER, f"What is {number} and {number}?")])
        for number in range(count)
    ]


def requests_for(conversations: Iterable[Conversation]) -> Iterator[Request]:
    """What a run asks the engine."""
    generation = GenerationParams()
    for index, row in enumerate(conversations):
        yield Request(row, MODEL, generation, None, str(index))


async def gathered(engine: Engine, conversations: Iterable[Conversation]) -> list[Completion]:
    """Every answer, by a semaphore and a task a row."""
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def one(request: Request) -> Completion:
        async with limit:
            return await engine.complete(request)

    return await asyncio.gather(*map(one, requests_for(conversations)))


def drain(items: Iterable[object]) -> None:
    """Look at each item and keep none."""
    for _ in items:
        pass

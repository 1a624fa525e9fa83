"""Large inputs: the fewest legal parts, in memory that does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Bench

PROGRAM = """
import resource
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role

def rows(count, size):
    for at in range(count):
        yield Conversation([Message(Role.USER, f"{at:08d}" + "x" * (size - 8))])

arguments = {"folder": "server", "max_requests": 50_000, "max_bytes": 190_000_000}
with oumi.get_engine("shelf", model="demo", engine_args=arguments) as engine:
    engine.infer_batch(rows(10, 100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batch_id = engine.infer_batch(rows(ROWS, SIZE))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(engine.get_batch_status(batch_id).parts, (after - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "size", "parts"), [(50_001, 100, 2), (50_000, 4_020, 2)])
def test_a_large_batch_is_split_in_bounded_memory(
    bench: Bench, rows: int, size: int, parts: int
) -> None:
    done = bench.python(PROGRAM.replace("ROWS", str(rows)).replace("SIZE", str(size)))
    split, megabytes = map(int, done.stdout.split())
    assert split == parts
    assert megabytes < 100
    files = sorted((bench.server / "files").iterdir(), key=lambda path: path.stat().st_size)
    assert files[-1].stat().st_size <= 190_000_000
    if size > 4_000:
        assert sum(path.stat().st_size for path in files) > 201_000_000

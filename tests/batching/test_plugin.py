"""A third party's backend, installed as a plugin, carries batches of any engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Bench

SUBMIT = """
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
rows = [Conversation([Message(Role.USER, text)]) for text in "abc"]
with oumi.get_engine("echo", model="demo", batching="shelf") as engine:
    batch_id = engine.infer_batch(rows)
    info = engine.wait_batch(batch_id)
    print([row[-1].text for row in engine.get_batch_results(batch_id, rows)])
    print(info.batching, info.parts, info.outcomes)
"""


def test_a_backend_of_a_plugin_carries_batches_of_any_engine(bench: Bench) -> None:
    done = bench.python(SUBMIT)
    assert done.stdout.splitlines() == [
        "['re: a', 're: b', 're: c']",
        "shelf 2 {'ok': 3}",
    ], done.stderr
    assert len(list((bench.folder / "state" / "shelf" / "batches").iterdir())) == 2


def test_an_unknown_backend_is_refused_with_those_there_are(bench: Bench) -> None:
    done = bench.python(SUBMIT.replace("batching='shelf'", "").replace('"shelf"', '"shelv"'))
    assert done.returncode == 1
    assert "did you mean 'shelf'?" in done.stderr
    assert "installed: local, provider, shelf" in done.stderr


def test_an_engine_with_a_batch_api_uses_it_by_itself(bench: Bench) -> None:
    program = SUBMIT.replace('"echo"', '"shelf"').replace('batching="shelf"', "engine_args={args}")
    args = json.dumps({"folder": str(bench.server)})
    assert "provider 1 {'ok': 3}" in bench.python(program.replace("{args}", args)).stdout
    local = program.replace("{args}", f"{args}, batching='local'")
    done = bench.python(local)
    assert done.stdout.splitlines() == [
        "['online: a', 'online: b', 'online: c']",
        "local 1 {'ok': 3}",
    ], done.stderr

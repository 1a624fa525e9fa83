"""The ends that a batch can come to, forced at a server that others wrote, in JavaScript."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.batching.backend import Part
from oumi_core.batching.status import BatchError, BatchStatus, RequestCounts
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Asks, Opened
    from oumi_core.batching.backend import BatchBackend
    from oumi_core.batching.status import PartStatus
    from oumi_core.wire import BatchLine

pytestmark = pytest.mark.slow

PACKAGE = "@copilotkit/aimock@1.43.0"


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where aimock listens."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("aimock")
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {installed.stderr.strip()[-200:]}")
    program = folder / "node_modules/@copilotkit/aimock/dist/cli.js"
    command = ["node", str(program), "--port", "0", "--fixtures", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        assert server.stdout is not None
        said = b""
        while (found := re.search(rb"listening on (http://\S+)", said)) is None:
            piece = server.stdout.readline()
            assert piece, said.decode()
            said += piece
        yield found[1].decode()
        server.terminate()


@pytest.fixture
def ended(aimock: str, opened: Opened, asks: Asks, tmp_path: Path) -> Any:
    """Carries a batch of two rows to a chosen end; gives its states and its results."""

    async def carry(
        backend: BatchBackend, *, cancel: bool
    ) -> tuple[list[PartStatus], list[BatchLine]]:
        path = tmp_path / "part.jsonl"
        path.write_bytes(backend.line("row-a", asks("a")) + backend.line("row-b", asks("b")))
        part = Part("batch-1", "t-1", path, 2, path.stat().st_size, "0" * 64, "m", "24h")
        handle = await backend.submit(part, await backend.upload(part))
        found = [one.token async for one in backend.list() if one.handle == handle]
        assert found == ["t-1"]
        if cancel:
            await backend.cancel(handle)
        states = [await backend.status(handle)]
        while not states[-1].is_terminal:
            states.append(await backend.status(handle))
        await backend.cancel(handle)  # of what has ended: no error
        return states, [line async for line in backend.results(states[-1], None)]

    def end(outcome: str, *, cancel: bool = False) -> tuple[list[PartStatus], list[BatchLine]]:
        async def main() -> tuple[list[PartStatus], list[BatchLine]]:
            headers = {"X-AIMock-Batch-Outcome": outcome}
            async with opened(aimock, engine_args={"headers": headers}) as backend:
                return await carry(backend, cancel=cancel)

        return asyncio.run(main())

    return end


def test_completed(ended: Any) -> None:
    states, lines = ended("completed")
    assert [state.status for state in states] == ["in_progress", "completed"]
    assert states[-1].counts == RequestCounts(2, 2, 0)
    texts = {line.custom_id: line.completion.text for line in lines}
    assert texts == dict.fromkeys(("row-a", "row-b"), "Mock batch completion")


def test_failed(ended: Any) -> None:
    states, lines = ended("failed")
    assert states[-1].status is BatchStatus.FAILED
    (fault,) = states[-1].errors
    assert isinstance(fault, BatchError)
    assert (fault.code, fault.line) == ("mock_failure", None)
    assert {line.custom_id for line in lines} == {"row-a", "row-b"}
    assert all(line.failure.code == "mock_failure" for line in lines)
    assert all(line.failure.kind is FailureKind.TRANSIENT for line in lines)


@pytest.mark.parametrize(
    ("outcome", "cancel"), [("expired", False), ("cancelled", False), ("cancelled", True)]
)
def test_ended_before_it_was_done(ended: Any, outcome: str, *, cancel: bool) -> None:
    states, lines = ended(outcome, cancel=cancel)
    assert states[-1].status == outcome
    assert states[-1].is_terminal
    assert lines == []

"""Whole batches at a server that others wrote: joined to their rows, and never sent twice.

A server stands before llmock. It hands requests on, and forces on the way what llmock never does:
rows that fail, answers out of order, and moments at which the client is killed.
"""

from __future__ import annotations

import http.client
import json
import random
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from oumi_core.testing import FaultServer
from oumi_core.testing.replies import Ending, Reply, stall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmock.pytest_plugin import LLMock
    from oumi_core.testing import Received

    HandOn = Callable[[Received], Reply]
    Meddle = Callable[[Received, HandOn], Reply]

pytestmark = [
    pytest.mark.slow,
    # llmock does not close the files that it is sent.
    pytest.mark.filterwarnings(
        "ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"
    ),
]

CLIENT = Path(__file__).parent / "batch_client.py"
ERRORS = "file-errors"


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUMI_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LLMOCK_RESPONSE_STYLE", "echo")


@contextmanager
def before(llmock: LLMock, meddle: Meddle) -> Iterator[FaultServer]:
    """A server that hands requests on to llmock as `meddle` does."""
    host = llmock.url.partition("//")[2]

    def hand_on(request: Received) -> Reply:
        connection = http.client.HTTPConnection(host)
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in ("host", "connection", "content-length", "transfer-encoding")
        }
        connection.request(request.method, request.target, request.body or None, headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        kind = response.getheader("content-type") or "application/json"
        return Reply(response.status, {"Content-Type": kind}, (body,))

    with FaultServer(then=lambda request: meddle(request, hand_on)) as server:
        yield server


def body_of(reply: Reply) -> bytes:
    return b"".join(reply.pieces)


def with_body(reply: Reply, body: bytes) -> Reply:
    return attrs.evolve(reply, pieces=(body,))


def is_content(request: Received, *, errors: bool) -> bool:
    parts = request.path.split("/")
    return request.method == "GET" and parts[-1] == "content" and (parts[-2] == ERRORS) is errors


def shuffled(things: list[Any], seed: int) -> list[Any]:
    mixed = things.copy()
    random.Random(seed).shuffle(mixed)  # noqa: S311 - no secret
    return mixed


def fate(row: int) -> str:
    """What becomes of a row: of ten, five fail, each in another way."""
    return {1: "bad_request", 3: "rate_limit", 5: "expired", 7: "missing", 9: "transient"}.get(
        row % 10, "ok"
    )


def answer_of(row: int) -> str:
    """What the user's program prints for a row."""
    return f"Hello! You said: row {row}" if fate(row) == "ok" else fate(row)


class Mixing:
    """Hands on answers out of order, and with failures among them, in both files."""

    def __init__(self) -> None:
        self._errors = b""

    def __call__(self, request: Received, hand_on: HandOn) -> Reply:
        if is_content(request, errors=True):
            return Reply(200, {"Content-Type": "application/jsonl"}, (self._errors,))
        reply = hand_on(request)
        if request.method == "GET" and request.path.startswith("/v1/batches/"):
            batch = json.loads(body_of(reply))
            if batch["status"] == "completed":
                batch["error_file_id"] = ERRORS
            return with_body(reply, json.dumps(batch).encode())
        if not is_content(request, errors=False):
            return reply
        answers: list[bytes] = []
        errors: list[bytes] = []
        lines = shuffled(body_of(reply).splitlines(), 7)
        for line in lines:
            self._sort(json.loads(line), answers, errors)
        self._errors = b"\n".join(errors)
        return with_body(reply, b"\n".join([b"null", *answers, b'{"custom_id": "torn']))

    def _sort(self, line: dict[str, Any], answers: list[bytes], errors: list[bytes]) -> None:
        said = line["response"]["body"]["choices"][0]["message"]["content"]
        failure = {
            "bad_request": _refused(400, "too long"),
            "rate_limit": _refused(429, "slow down"),
            "transient": _refused(500, "oops"),
            "expired": {"response": None, "error": {"code": "batch_expired", "message": "late"}},
        }
        end = fate(int(said.rpartition(" ")[2]))
        if end == "missing":
            return
        text = json.dumps({**line, **failure.get(end, {})}).encode()
        # A refused request has been seen in either file.
        (answers if end in ("ok", "bad_request") else errors).append(text)


def _refused(status: int, message: str) -> dict[str, Any]:
    body = {"error": {"message": message, "code": None}}
    return {"response": {"status_code": status, "request_id": "req-1", "body": body}, "error": None}


def command(url: str, folder: Path, rows: int, seed: int = 0) -> list[str]:
    return [sys.executable, str(CLIENT), url, str(folder / "id"), str(rows), str(seed)]


def run_client(url: str, folder: Path, rows: int, seed: int = 0) -> list[list[str]]:
    """Run the user's program to its end; question and answer of each row."""
    done = subprocess.run(
        command(url, folder, rows, seed), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def batches_made(server: FaultServer, llmock: LLMock) -> set[str]:
    """The batches at the provider that hold the token of a part of ours."""
    connection = http.client.HTTPConnection(llmock.url.partition("//")[2])
    connection.request("GET", "/v1/batches?limit=1000")
    listed = json.loads(connection.getresponse().read())["data"]
    connection.close()
    tokens = {
        request.json["metadata"]["oumi_token"]
        for request in server.requests
        if (request.method, request.path) == ("POST", "/v1/batches")
    }
    return {one["id"] for one in listed if (one["metadata"] or {}).get("oumi_token") in tokens}


def test_a_thousand_rows_find_their_prompts_in_another_process_and_another_order(
    llmock: LLMock, tmp_path: Path
) -> None:
    with before(llmock, Mixing()) as server:
        for seed in (0, 3):
            pairs = run_client(server.url, tmp_path, 1000, seed)
            rows = [f"row {row}" for row in range(1000)]
            order = shuffled(rows, seed) if seed else rows
            assert [question for question, _ in pairs] == order
            for question, answer in pairs:
                assert answer == answer_of(int(question.removeprefix("row ")))
        assert len(batches_made(server, llmock)) == 1


def half(reply: Reply) -> Reply:
    """The first half of a body, and then nothing for ever."""
    whole = body_of(reply)
    return attrs.evolve(
        reply,
        pieces=(whole[: len(whole) // 2],),
        content_length=len(whole),
        ending=Ending.HANG,
    )


def posts(path: str) -> Callable[[Received], bool]:
    return lambda request: (request.method, request.path) == ("POST", path)


POINTS: dict[str, tuple[Callable[[Received], bool], Callable[[Received, HandOn], Reply]]] = {
    "before the upload": (posts("/v1/files"), lambda _request, _hand_on: stall()),
    "after the upload": (
        posts("/v1/files"),
        lambda request, hand_on: (hand_on(request), stall())[1],
    ),
    "when the upload is recorded": (posts("/v1/batches"), lambda _request, _hand_on: stall()),
    "after the batch is made, before it is recorded": (
        posts("/v1/batches"),
        lambda request, hand_on: (hand_on(request), stall())[1],
    ),
    "in the download": (
        lambda request: is_content(request, errors=False),
        lambda request, hand_on: half(hand_on(request)),
    ),
    "in the ingest, between its two files": (
        lambda request: is_content(request, errors=True),
        lambda _request, _hand_on: stall(),
    ),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_client_that_is_killed_goes_on_with_the_same_batch(
    llmock: LLMock, tmp_path: Path, point: str
) -> None:
    is_reached, act = POINTS[point]
    reached = threading.Event()
    mixing = Mixing()

    def meddle(request: Received, hand_on: HandOn) -> Reply:
        if reached.is_set() or not is_reached(request):
            return mixing(request, hand_on)
        reply = act(request, lambda request: mixing(request, hand_on))
        reached.set()
        return reply

    with before(llmock, meddle) as server:
        started = command(server.url, tmp_path, 100)
        with subprocess.Popen(started, stdout=subprocess.PIPE) as client:
            assert reached.wait(60)
            client.kill()
            assert client.stdout is not None
            assert client.stdout.read() == b""
        pairs = run_client(server.url, tmp_path, 100)
        assert len(batches_made(server, llmock)) == 1
    assert pairs == [[f"row {row}", answer_of(row)] for row in range(100)]


@pytest.fixture(scope="module")
def strace() -> None:
    """Skips tests where strace cannot be used."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("strace may not trace here")


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("write", [1, 9])
def test_a_client_that_is_killed_while_it_writes_results_down_goes_on(
    llmock: LLMock, tmp_path: Path, write: int
) -> None:
    asked = threading.Event()
    mixing = Mixing()

    def meddle(request: Received, hand_on: HandOn) -> Reply:
        if is_content(request, errors=False) and not asked.is_set():
            asked.set()
            return stall()
        return mixing(request, hand_on)

    with before(llmock, meddle) as server:
        started = command(server.url, tmp_path, 200)
        with subprocess.Popen(started, stdout=subprocess.PIPE) as client:
            assert asked.wait(60)
            client.kill()  # from here on, all that is written is results
        manifest = tmp_path / "state/batches" / (tmp_path / "id").read_text() / "batch.db-wal"
        fault = f"pwrite64:signal=KILL:when={write}"
        traced = ["strace", "-f", "-o", str(tmp_path / "trace"), "-P", str(manifest)]
        killed = subprocess.run(
            [*traced, "-e", "trace=pwrite64", "-e", f"inject={fault}", *started],
            capture_output=True,
            check=False,
        )
        assert killed.returncode in (-9, 137)
        assert killed.stdout == b""
        pairs = run_client(server.url, tmp_path, 200)
        assert len(batches_made(server, llmock)) == 1
    assert pairs == [[f"row {row}", answer_of(row)] for row in range(200)]

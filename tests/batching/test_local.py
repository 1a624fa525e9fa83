"""The queue on this machine: any engine, in a process of its own, which may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import attrs
import pytest

from oumi_core.batching import BatchStatus
from oumi_core.batching.local_job import JobFolder
from oumi_core.batching.store import BatchStore
from oumi_core.configs import (
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    ModelParams,
    RemoteParams,
)
from oumi_core.engine import Engine
from oumi_core.errors import ConfigError, InferenceFailed
from oumi_core.inference import get_engine
from oumi_core.types import Completion, Conversation, Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from conftest import Bench

    from oumi_core.engine import Request
    from oumi_core.inference import InferenceEngine

ECHO = InferenceConfig(model=ModelParams(model_name="demo"))


def asked(*texts: str) -> list[Conversation]:
    return [Conversation([Message(Role.USER, text)]) for text in texts]


@pytest.fixture
def echo(bench: Bench) -> Iterator[InferenceEngine]:
    with get_engine("echo", ECHO) as engine:
        yield engine


def workers(bench: Bench) -> list[int]:
    """The processes that work on a queue of this test."""
    state = str(bench.folder / "state").encode()
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are what is wanted
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:  # noqa: PTH123 - a short path
                command = file.read()
        except (OSError, ValueError):
            continue
        if b"oumi_core.batch_worker" in command and state in command:
            found.append(int(name))
    return found


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.01)


def test_a_batch_is_answered_by_a_process_of_its_own(bench: Bench, echo: InferenceEngine) -> None:
    conversations = asked(*(f"row {at % 90}" for at in range(100)))
    batch_id = echo.infer_batch(conversations)
    seen: list[str] = []
    info = echo.wait_batch(batch_id, on_progress=lambda info: seen.append(info.status))
    assert (info.status, info.outcomes, info.batching) == ("completed", {"ok": 100}, "local")
    assert seen[-1] == "completed"
    results = echo.get_batch_results(batch_id, conversations[::-1])
    assert [row[1].text for row in results] == [row[0].text for row in conversations[::-1]]


def test_the_worker_ends_when_there_is_nothing_to_do(bench: Bench, echo: InferenceEngine) -> None:
    echo.wait_batch(echo.infer_batch(asked("a")))
    wait_for(lambda: not workers(bench), "the worker's end")


def test_one_worker_does_one_batch_after_another_until_it_is_told_to_end(
    bench: Bench, echo: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUMI_BATCH_IDLE_SECONDS", "600")
    ids = [echo.infer_batch(asked(f"{at}")) for at in range(3)]
    for at, batch_id in enumerate(ids):
        echo.wait_batch(batch_id)
        assert echo.get_batch_results(batch_id)[0][-1].text == f"{at}"
    (worker,) = workers(bench)
    os.kill(worker, signal.SIGTERM)
    wait_for(lambda: not workers(bench), "the worker's end")


def test_another_process_gets_the_results(bench: Bench, echo: InferenceEngine) -> None:
    batch_id = echo.infer_batch(asked("a", "b"))
    done = bench.python(f"""
import oumi_core as oumi
with oumi.get_engine("echo", model="demo") as engine:
    print(engine.wait_batch("{batch_id}").status)
    print([row[-1].text for row in engine.get_batch_results("{batch_id}")])
""")
    assert done.stdout.splitlines() == ["completed", "['a', 'b']"], done.stderr


def test_a_thousand_rows_with_failures_are_joined_in_another_process(bench: Bench) -> None:
    begin = """
import sys
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
texts = [f"{'fail' if at % 7 == 3 else 'row'} {at % 600}" for at in range(1000)]
rows = [Conversation([Message(Role.USER, text)]) for text in texts]
config = {"batching": "local", "engine_args": {"folder": "server"}}
engine = oumi.get_engine("shelf", model="demo", **config)
"""
    submitted = bench.python(f"{begin}print(engine.infer_batch(rows))")
    batch_id = submitted.stdout.strip()
    done = bench.python(f"""{begin}
print(engine.wait_batch("{batch_id}").outcomes)
shuffled = sorted(rows, key=lambda row: row[0].text[::-1])
found = engine.get_batch_results_partial("{batch_id}", shuffled)
for at, result in enumerate(found.results):
    text = shuffled[at][0].text
    assert result.index == at
    if text.startswith("fail"):
        assert result.error.kind == "bad_request"
    else:
        assert result.conversation[-1].text == f"online: {{text}}"
print(len(found.results), found.unfinished)
""")
    lines = done.stdout.splitlines()
    assert lines == ["{'failed': 143, 'ok': 857}", "1000 ()"], done.stderr


def test_a_literal_key_is_refused_with_the_way_out(echo: InferenceEngine) -> None:
    key = InferenceConfig(remote_params=RemoteParams(api_key="sk-secret"))
    with pytest.raises(ConfigError, match="api_key_env_varname") as raised:
        echo.infer_batch(asked("a"), key)
    assert "sk-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"headers": {"X-Api-Key": "hush"}}, "engine_args.headers.X-Api-Key"),
        ({"hf_token": "hush"}, "engine_args.hf_token"),
        ({"client": object()}, "engine_args.client"),
    ],
)
def test_secrets_and_objects_among_the_arguments_are_refused(
    echo: InferenceEngine, arguments: dict[str, object], path: str
) -> None:
    with pytest.raises(ConfigError, match=path) as raised:
        echo.infer_batch(asked("a"), InferenceConfig(engine_args=arguments))
    assert "hush" not in str(raised.value)


class Nameless(Engine):
    async def complete(self, request: Request) -> Completion:
        return Completion(Message(Role.ASSISTANT, "a"))


def test_an_engine_that_no_other_process_finds_is_refused(bench: Bench) -> None:
    with get_engine(Nameless, ECHO) as engine:
        with pytest.raises(ConfigError, match="announce Nameless as a plugin"):
            engine.infer_batch(asked("a"))


def test_provider_needs_an_engine_with_a_batch_api(echo: InferenceEngine) -> None:
    with pytest.raises(ConfigError, match="has no batch API; choose `local`"):
        echo.infer_batch(asked("a"), InferenceConfig(batching="provider"))


def test_answers_are_checked_and_what_failed_is_sent_again(echo: InferenceEngine) -> None:
    guided = GuidedDecodingParams(choice=["yes", "no"], backend="reask")
    config = InferenceConfig(generation=GenerationParams(guided_decoding=guided))
    batch_id = echo.infer_batch(asked("yes", "perhaps"), config)
    info = echo.wait_batch(batch_id)
    assert info.outcomes == {"failed": 2}  # the echo repeats the demand, too
    with pytest.raises(InferenceFailed, match="invalid_output"):
        echo.get_batch_results(batch_id)
    echo.resubmit_batch(batch_id)
    again = echo.wait_batch(batch_id)
    assert (again.parts, again.outcomes) == (2, {"failed": 2})


def test_the_queue_is_private_to_the_user(bench: Bench, echo: InferenceEngine) -> None:
    echo.wait_batch(echo.infer_batch(asked("a")))
    for path in (bench.folder / "state").rglob("*"):
        if path.is_dir():
            assert path.stat().st_mode & 0o077 == 0, path


def test_forgetting_removes_the_job_from_the_queue(bench: Bench, echo: InferenceEngine) -> None:
    batch_id = echo.infer_batch(asked("a"))
    echo.wait_batch(batch_id)
    assert list((bench.folder / "state").glob("local/*/*/job.json"))
    echo.forget_batch(batch_id)
    assert not list((bench.folder / "state").glob("local/*/*/job.json"))


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("moment", range(1, 6))
def test_a_kill_in_the_middle_of_forgetting_leaves_no_job_that_would_run_again(
    bench: Bench, echo: InferenceEngine, moment: int
) -> None:
    batch_id = echo.infer_batch(asked("a"))
    echo.wait_batch(batch_id)
    forget = f"""
import oumi_core as oumi
with oumi.get_engine("echo", model="demo") as engine:
    engine.forget_batch("{batch_id}")
"""
    killed = subprocess.run(
        [
            *(
                "strace",
                "-f",
                "-o",
                "/dev/null",
                "-e",
                f"inject=unlinkat:signal=KILL:when={moment}",
            ),
            *(sys.executable, "-c", forget),
        ],
        env=bench.environ,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    (queue,) = (bench.folder / "state" / "local").iterdir()
    assert [job for job in JobFolder.all_in(queue) if not job.is_ended()] == []
    batch_id = echo.infer_batch(asked("b"))
    echo.wait_batch(batch_id)
    echo.forget_batch(batch_id)
    assert [path for path in queue.iterdir() if path.is_dir()] == []  # nor half of the other


def test_jobs_that_are_forgotten_meanwhile_are_left_out_of_a_queue(tmp_path: Path) -> None:
    for number in range(500):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "job.json").write_text("{}")

    def remove_all() -> None:
        for path in sorted(tmp_path.iterdir()):
            JobFolder(path).remove()

    removing = threading.Thread(target=remove_all)
    removing.start()
    while removing.is_alive():
        assert len(JobFolder.all_in(tmp_path)) <= 500
    assert JobFolder.all_in(tmp_path) == []


def test_a_batch_that_another_process_has_forgotten_is_not_there(tmp_path: Path) -> None:
    store = BatchStore(tmp_path)
    folder = store.root / "batch-1"
    with pytest.raises(ConfigError, match="batch-1 was forgotten"), store.locked(folder):
        pass


def test_several_processes_may_wait_for_one_batch(bench: Bench, echo: InferenceEngine) -> None:
    batch_id = echo.infer_batch(asked(*(f"{at}" for at in range(300))))
    program = f"""
import oumi_core as oumi
with oumi.get_engine("echo", model="demo") as engine:
    print(engine.wait_batch("{batch_id}").outcomes)
"""
    others = [
        subprocess.Popen(
            [sys.executable, "-c", program], env=bench.environ, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    assert echo.wait_batch(batch_id).outcomes == {"ok": 300}
    assert [other.communicate()[0] for other in others] == ["{'ok': 300}\n"] * 2


def test_a_batch_that_waits_can_be_cancelled(bench: Bench, echo: InferenceEngine) -> None:
    with held_queue(bench):
        batch_id = echo.infer_batch(asked("a", "b"))
        assert echo.get_batch_status(batch_id).status is BatchStatus.VALIDATING
        assert echo.cancel_batch(batch_id).status is BatchStatus.CANCELLING
    info = echo.wait_batch(batch_id)
    assert (info.status, info.outcomes) == ("cancelled", {"canceled": 2})


def held_queue(bench: Bench) -> AbstractContextManager[bool]:
    """Be the worker of the queue, and do nothing."""
    from oumi_core.batching.worker_process import only_worker

    queue = bench.folder / "state" / "local" / "oumi-core%3Aecho"
    queue.mkdir(parents=True)
    return only_worker(queue)


def test_an_engine_that_cannot_be_brought_up_fails_the_batch(bench: Bench) -> None:
    done = bench.python("""
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
config = oumi.InferenceEngine("shelf", oumi.get_engine("shelf", model="demo").config).config
with oumi.get_engine("shelf", model="demo", batching="local") as engine:
    info = engine.wait_batch(engine.infer_batch([Conversation([Message(Role.USER, "a")])]))
    print(info.status, info.outcomes, info.errors[0].message[:40])
""")
    assert done.stdout.startswith("failed {'missing': 1} "), done.stdout + done.stderr


KEYED = """
import os, oumi_core as oumi
from oumi_core.batching.status import BatchStatus
from oumi_core.errors import ConfigError
from oumi_core.types import Conversation, Message, Role
with oumi.get_engine("shelf", model="demo", batching="local",
                     engine_args={"folder": "server", "variable": "SHELF_KEY"}) as engine:
    try:
        %s
    except ConfigError as error:
        print(error)
"""


def test_a_local_batch_is_harmed_by_no_process_without_its_key(bench: Bench) -> None:
    row = "[Conversation([Message(Role.USER, 'a')])]"
    refused = bench.python(KEYED % f"engine.infer_batch({row})")
    assert refused.stdout == "SHELF_KEY is not set\n", refused.stderr
    assert not list((bench.folder / "state" / "batches").glob("*"))
    sent = bench.python(KEYED % f"print(engine.infer_batch({row}))", SHELF_KEY="k", SHELF_DIE="1")
    batch_id = sent.stdout.strip()
    wait_for(lambda: not workers(bench), "the end of the worker")
    looked = bench.python(KEYED % f"print(engine.get_batch_status('{batch_id}').status)")
    assert looked.stdout == "SHELF_KEY is not set\n", looked.stderr
    waited = bench.python(KEYED % f"print(engine.wait_batch('{batch_id}').outcomes)", SHELF_KEY="k")
    assert waited.stdout == "{'ok': 1}\n", waited.stderr


def test_a_local_batch_is_cancelled_without_its_key(bench: Bench) -> None:
    row = "[Conversation([Message(Role.USER, 'a')])]"
    sent = bench.python(KEYED % f"print(engine.infer_batch({row}))", SHELF_KEY="k", SHELF_DIE="1")
    batch_id = sent.stdout.strip()
    wait_for(lambda: not workers(bench), "the end of the worker")
    ended = bench.python(
        KEYED % f"engine.cancel_batch('{batch_id}'); print(engine.wait_batch('{batch_id}').status)"
    )
    assert ended.stdout == "cancelled\n", ended.stderr


def test_cancelling_in_the_middle_keeps_every_answer(bench: Bench) -> None:
    done = bench.python("""
import os, signal, time
from pathlib import Path
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
rows = [Conversation([Message(Role.USER, text)]) for text in ("a", "b", "wait", "c")]
arguments = {"folder": str(Path("server").absolute())}
config = {"num_workers": 1, "batching": "local", "engine_args": arguments}
with oumi.get_engine("shelf", model="demo", **config) as engine:
    batch_id = engine.infer_batch(rows)
    while engine.get_batch_status(batch_id).completed_requests < 2:
        time.sleep(0.05)
    (queue,) = Path(os.environ["OUMI_STATE_DIR"], "local").iterdir()
    os.kill(int(Path("server", "waiting").read_text()), signal.SIGKILL)
    for partial in queue.glob("*/results.jsonl.partial"):
        partial.unlink()  # as if the worker had died before it wrote them
    print(engine.cancel_batch(batch_id).status)
    info = engine.wait_batch(batch_id)
    print(info.status, info.outcomes)
    print([row[-1].text for row in engine.get_batch_results(batch_id, partial=True)])
""")
    assert done.stdout.splitlines() == [
        "cancelling",
        "cancelled {'canceled': 2, 'ok': 2}",
        "['online: a', 'online: b']",
    ], done.stderr


@pytest.mark.slow
def test_a_row_that_kills_every_worker_ends_the_batch(bench: Bench) -> None:
    done = bench.python("""
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
rows = [Conversation([Message(Role.USER, text)]) for text in ("a", "b", "die")]
arguments = {"folder": "server"}
config = {"num_workers": 1, "batching": "local", "engine_args": arguments}
with oumi.get_engine("shelf", model="demo", **config) as engine:
    info = engine.wait_batch(engine.infer_batch(rows))
    print(info.status, info.outcomes)
    print(info.errors[0].message)
""")
    status, reason = done.stdout.splitlines()
    assert status == "failed {'missing': 1, 'ok': 2}", done.stderr
    assert "died 5 times without another answer" in reason


@pytest.mark.slow
def test_a_disk_that_refuses_is_told_to_who_waits_and_the_batch_goes_on_when_it_is_mended(
    bench: Bench,
) -> None:
    waited = bench.python("""
import os, resource
from pathlib import Path
import oumi_core as oumi
from oumi_core.batching.worker_process import only_worker
from oumi_core.errors import RunStopped
from oumi_core.types import Conversation, Message, Role
queue = Path(os.environ["OUMI_STATE_DIR"], "local", "oumi-core%3Aecho")
queue.mkdir(parents=True)
rows = [Conversation([Message(Role.USER, f"{at} " + "x" * 2000)]) for at in range(300)]
with oumi.get_engine("echo", model="demo") as engine:
    with only_worker(queue):  # so that the worker starts with the disk as it is then
        print(engine.infer_batch(rows))
    batch_id = engine.list_batches().batches[0].id
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    for _ in range(6):
        try:
            engine.wait_batch(batch_id)
        except RunStopped as stopped:
            print(stopped)
""")
    batch_id, *refusals = waited.stdout.splitlines()
    assert len(refusals) == 6, waited.stderr
    assert all("mend the disk and run the same again" in refusal for refusal in refusals)
    done = bench.python(f"""
import oumi_core as oumi
with oumi.get_engine("echo", model="demo") as engine:
    print(engine.wait_batch("{batch_id}").outcomes)
""")
    assert done.stdout == "{'ok': 300}\n", done.stderr


@pytest.mark.slow
def test_ten_thousand_rows_survive_three_kills_of_the_worker(
    bench: Bench, echo: InferenceEngine
) -> None:
    conversations = asked(*(f"row {at}" for at in range(10_000)))
    slow = attrs.evolve(ECHO, num_workers=1)
    batch_id = echo.infer_batch(conversations, slow)
    killed = 0
    for share in (0.1, 0.3, 0.6):

        def is_so_far(rows: float = share * 10_000) -> bool:
            echo.get_batch_status(batch_id)  # whoever looks has a worker started
            return rows_done(bench) > rows

        wait_for(is_so_far, "progress")
        for process in workers(bench):
            os.kill(process, signal.SIGKILL)
            killed += 1
        wait_for(lambda: not workers(bench), "the worker's death")
    assert killed == 3
    assert echo.wait_batch(batch_id).outcomes == {"ok": 10_000}
    results = echo.get_batch_results(batch_id)
    assert [row[-1].text for row in results] == [row[0].text for row in conversations]


def rows_done(bench: Bench) -> int:
    lines = 0
    for path in (bench.folder / "state" / "local").glob("*/*/results.jsonl*"):
        lines = max(lines, count_lines(path))
    return lines


def count_lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:  # renamed a moment ago
        return 0

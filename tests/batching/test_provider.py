"""Batches of a provider: split, found again, joined, watched, stopped and sent again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest

from oumi_core.batching import BatchStatus
from oumi_core.configs import (
    BudgetParams,
    GenerationParams,
    GuidedDecodingParams,
    InferenceConfig,
    RemoteParams,
)
from oumi_core.errors import (
    BatchUnfinished,
    ConfigError,
    DataError,
    EngineError,
    InferenceFailed,
    RunStopped,
)
from oumi_core.types import Conversation, Message, Role

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Bench


def asked(*texts: str) -> list[Conversation]:
    return [Conversation([Message(Role.USER, text)]) for text in texts]


def answers(conversations: list[Conversation]) -> list[str]:
    return [conversation[-1].text for conversation in conversations]


def test_a_batch_comes_back_in_the_order_of_the_submission(bench: Bench) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a", "b", "c"))
        assert answers(engine.get_batch_results(batch_id)) == ["re: a", "re: b", "re: c"]


def test_the_workflow_of_the_document_runs_with_and_without_a_config(bench: Bench) -> None:
    conversations = asked("What is 2+2?", "What is the capital of France?")
    config = InferenceConfig(remote_params=RemoteParams(batch_completion_window="24h"))
    with bench.engine() as engine:
        batch_id = engine.infer_batch(conversations, config)
        status = engine.get_batch_status(batch_id, config)
        assert (status.completed_requests, status.total_requests) == (0, 2)
        assert f"{status.status}" == "completed"
        assert status.status is BatchStatus.COMPLETED
        results = engine.get_batch_results(batch_id, conversations, config)
    assert [(row[-2].text, row[-1].text) for row in results] == [
        ("What is 2+2?", "re: What is 2+2?"),
        ("What is the capital of France?", "re: What is the capital of France?"),
    ]
    assert all(len(row.messages) == 1 for row in conversations)


def test_a_thousand_rows_with_failures_are_joined_to_their_own_prompts(bench: Bench) -> None:
    cues = ("fail", "expire", "skip", "torn", "ask", "ask", "ask")
    conversations = asked(*(f"{cues[at % len(cues)]} {at % 400}" for at in range(1000)))
    expected = {"fail": "bad_request", "expire": "expired", "skip": "missing", "torn": "missing"}
    with bench.engine(max_requests=300) as engine:
        batch_id = engine.infer_batch(conversations)
        shuffled = sorted(conversations, key=lambda row: row[0].text[::-1])
        with pytest.raises(InferenceFailed) as raised:
            engine.get_batch_results(batch_id, shuffled)
        info = engine.get_batch_status(batch_id)
    assert info.parts == 4
    assert sum(info.outcomes.values()) == 1000
    for at, (given, result) in enumerate(zip(shuffled, raised.value.results, strict=True)):
        assert result.index == at
        text = given[0].text
        if text.startswith("ask"):
            assert result.conversation[-1].text == f"re: {text}"
        else:
            assert result.error is not None
            assert result.error.kind == expected[text.partition(" ")[0]]
            assert result.conversation is given


def test_rows_of_a_batch_are_joined_from_another_process(bench: Bench) -> None:
    program = """
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
rows = [Conversation([Message(Role.USER, text)]) for text in "cab"]
with oumi.get_engine("shelf", model="demo", engine_args={"folder": "server"}) as engine:
    if not (ids := [b.id for b in engine.list_batches().batches]):
        print(engine.infer_batch(rows))
    else:
        print([row[-1].text for row in engine.get_batch_results(ids[0], rows[::-1])])
        print([row[-1].text for row in engine.get_batch_results(ids[0])])
"""
    first, second = bench.python(program), bench.python(program)
    assert first.stdout.startswith("batch-"), first.stderr
    assert second.stdout.splitlines() == [
        "['re: b', 're: a', 're: c']",
        "['re: c', 're: a', 're: b']",
    ]


def test_equal_prompts_have_an_answer_each(bench: Bench) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a", "a", "b", "a"))
        results = engine.get_batch_results(batch_id, asked("b", "a", "a", "a"))
    assert answers(results) == ["re: b", "re: a", "re: a", "re: a"]


def test_conversations_that_are_none_of_the_batch_are_refused(bench: Bench) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a", "b"))
        with pytest.raises(DataError, match=r"conversations\[1\]: .* nor 1 others"):
            engine.get_batch_results(batch_id, asked("a", "x", "a"))


def test_what_a_row_carries_comes_back_with_its_answer(bench: Bench) -> None:
    row = Conversation(
        [Message(Role.USER, "a")], conversation_id="mine", metadata={"n": 1}, extra={"label": "x"}
    )
    with bench.engine() as engine:
        (result,) = engine.get_batch_results(engine.infer_batch([row]))
    assert (result.conversation_id, result.metadata["n"]) == ("mine", 1)
    assert result.extra == {"label": "x"}


@pytest.mark.parametrize(
    ("rows", "most", "parts"), [(6, 6, [6]), (7, 6, [6, 1]), (12, 6, [6, 6]), (13, 6, [6, 6, 1])]
)
def test_a_batch_is_split_into_the_fewest_parts(
    bench: Bench, rows: int, most: int, parts: list[int]
) -> None:
    with bench.engine(max_requests=most) as engine:
        batch_id = engine.infer_batch(asked(*(f"row {at}" for at in range(rows))))
        assert engine.get_batch_status(batch_id).parts == len(parts)
        assert len(engine.get_batch_results(batch_id)) == rows
    files = sorted((bench.server / "files").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert [len(path.read_bytes().splitlines()) for path in files] == parts


def test_no_file_is_longer_than_the_limit_and_a_row_that_is_fails_by_itself(bench: Bench) -> None:
    texts = ["x" * 100, "y" * 3000, *("z" * at for at in range(50, 90))]
    with bench.engine(max_bytes=1000) as engine:
        batch_id = engine.infer_batch(asked(*texts))
        with pytest.raises(InferenceFailed) as raised:
            engine.get_batch_results(batch_id)
    bad = [result for result in raised.value.results if not result.ok]
    assert [(row.index, row.error.kind) for row in bad if row.error] == [(1, "bad_request")]
    sizes = [path.stat().st_size for path in (bench.server / "files").iterdir()]
    assert max(sizes) <= 1000


def test_results_of_an_unfinished_batch_say_how_far_it_is(bench: Bench) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a", "b", "c"))
        (part,) = bench.batches()
        bench.change(part, status="in_progress", counts=[3, 1, 0], answered=1)
        with pytest.raises(BatchUnfinished, match="in_progress, 1 of 3 rows") as raised:
            engine.get_batch_results(batch_id)
        assert raised.value.info.completion_percentage == pytest.approx(100 / 3)
        assert answers(engine.get_batch_results(batch_id, partial=True)) == ["re: a"]
        found = engine.get_batch_results_partial(batch_id)
        assert (found.unfinished, found.has_failures) == ((1, 2), False)
        assert [index for index, _ in found.successful] == [0]
        bench.change(part, status="completed", answered=3)
        assert len(engine.get_batch_results(batch_id)) == 3


@pytest.mark.parametrize(
    "word", ["validating", "in_progress", "finalizing", "cancelling", "dreaming"]
)
def test_a_state_that_is_not_the_end_is_reported_as_it_is(bench: Bench, word: str) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a"))
        bench.change(bench.batches()[0], status=word)
        info = engine.get_batch_status(batch_id)
        assert (info.status, info.is_terminal) == (word, False)
        with pytest.raises(BatchUnfinished):
            engine.wait_batch(batch_id, timeout=0.05)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("expired", "expired"),
        ("cancelled", "canceled"),
        ("failed", "missing"),
        ("completed", "missing"),
    ],
)
def test_a_batch_that_ended_early_gives_what_it_finished(
    bench: Bench, status: str, outcome: str
) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a", "b", "c"))
        bench.change(bench.batches()[0], status=status, answered=2)
        assert answers(engine.get_batch_results(batch_id, partial=True)) == ["re: a", "re: b"]
        info = engine.get_batch_status(batch_id)
    assert info.status == status
    assert info.outcomes == {"ok": 2, outcome: 1}


def test_errors_of_a_batch_name_the_row_they_are_about(bench: Bench) -> None:
    with bench.engine(max_requests=2) as engine:
        batch_id = engine.infer_batch(asked("a", "b", "c", "d"))
        second = min(bench.batches(), key=lambda path: "c" not in first_prompt(bench, path))
        error = {"code": "invalid_json_line", "message": "not JSON", "line": 2}
        bench.change(second, status="failed", errors=[error], answered=0)
        info = engine.wait_batch(batch_id)
        found = engine.get_batch_results_partial(batch_id)
    assert info.status is BatchStatus.FAILED
    assert [(e.row, e.line, e.code) for e in info.errors] == [(3, 2, "invalid_json_line")]
    assert found.failed_indices == [2, 3]
    assert found.error_messages[3] == "bad_request: not JSON"


def first_prompt(bench: Bench, path: Path) -> str:
    file_id = json.loads(path.read_text())["file"]
    line = (bench.server / "files" / f"{file_id}.jsonl").read_text().splitlines()[0]
    text: str = json.loads(line)["body"]["messages"][0]["content"]
    return text


def test_a_batch_that_the_provider_lost_fails_and_can_be_sent_again(bench: Bench) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a"))
        bench.batches()[0].unlink()
        info = engine.get_batch_status(batch_id)
        assert (info.status, info.errors[0].code) == ("failed", "not_found")
        assert engine.resubmit_batch(batch_id).status == "completed"
        assert answers(engine.get_batch_results(batch_id)) == ["re: a"]


@pytest.mark.parametrize("via", ["batch", "online"])
def test_only_what_is_left_is_sent_again(bench: Bench, via: str) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a", "b", "fail c", "d"))
        bench.change(bench.batches()[0], status="expired", answered=2)
        engine.resubmit_batch(batch_id, via=via)  # type: ignore[arg-type]  # one of the two
        info = engine.wait_batch(batch_id)
        found = engine.get_batch_results_partial(batch_id)
    mark = "online" if via == "online" else "re"
    assert answers([row for _, row in found.successful]) == ["re: a", "re: b", f"{mark}: d"]
    assert info.outcomes == {"ok": 3, "failed": 1}
    assert (info.status, info.is_terminal) == ("completed", True)
    assert len(bench.batches()) == (1 if via == "online" else 2)


def test_a_batch_that_goes_on_is_not_sent_again(bench: Bench) -> None:
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a"))
        bench.change(bench.batches()[0], status="in_progress")
        with pytest.raises(ConfigError, match="not at its end"):
            engine.resubmit_batch(batch_id)
        with pytest.raises(ConfigError, match="cancel it first"):
            engine.forget_batch(batch_id)


def test_cancelling_stops_every_part_and_keeps_what_is_done(bench: Bench) -> None:
    with bench.engine(max_requests=1) as engine:
        batch_id = engine.infer_batch(asked("a", "b"))
        for part in bench.batches():
            bench.change(part, status="in_progress", answered=0)
        assert engine.cancel_batch(batch_id).status is BatchStatus.CANCELLED
        with pytest.raises(InferenceFailed) as raised:
            engine.get_batch_results(batch_id)
    assert {result.error.kind for result in raised.value.results if result.error} == {"canceled"}


def test_answers_are_checked_as_in_a_run(bench: Bench) -> None:
    guided = GuidedDecodingParams(choice=["re: yes", "re: no"])
    config = InferenceConfig(generation=GenerationParams(guided_decoding=guided))
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("yes", "perhaps"), config)
        found = engine.get_batch_results_partial(batch_id)
    assert found.failed_indices == [1]
    assert found.error_messages[1].startswith("invalid_output")
    assert found.results[0].parsed == "re: yes"


def test_a_row_that_names_an_adapter_is_refused_where_a_file_has_one_model(bench: Bench) -> None:
    named = Conversation([Message(Role.USER, "b")], extra={"model": "demo@pirate"})
    with bench.engine() as engine:
        batch_id = engine.infer_batch([*asked("a"), named])
        found = engine.get_batch_results_partial(batch_id)
    assert found.failed_indices == [1]
    assert "a batch with model.adapter_model" in found.error_messages[1]


def test_tools_and_constraints_are_sent_with_the_rows(bench: Bench) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    row = Conversation.from_dict({"messages": [{"role": "user", "content": "a"}], "tools": [tool]})
    config = InferenceConfig(generation=GenerationParams(seed=7, tool_choice="required"))
    with pytest.warns(UserWarning, match="tool_choice"), bench.engine() as engine:
        engine.infer_batch([row], config)
    (sent,) = (bench.server / "files").iterdir()
    body = json.loads(sent.read_text())["body"]
    assert body["tools"] == [tool]
    assert (body["seed"], body["tool_choice"]) == (7, "required")


def test_batches_are_listed_by_page_and_forgotten(bench: Bench) -> None:
    with bench.engine() as engine:
        ids = [engine.infer_batch(asked(text)) for text in "abc"]
        page = engine.list_batches(limit=2)
        rest = engine.list_batches(after=page.last_id)
        listed = [info.id for info in (*page.batches, *rest.batches)]
        assert listed == ids[::-1]  # the newest first, though all were made in a second
        assert (page.has_more, rest.has_more) == (True, False)
        engine.forget_batch(ids[0])
        with pytest.raises(ConfigError, match="there is no batch"):
            engine.get_batch_status(ids[0])
        assert len(engine.list_batches().batches) == 2


def test_the_state_is_private_to_the_user(bench: Bench) -> None:
    with bench.engine() as engine:
        engine.infer_batch(asked("a"))
    for path in (bench.folder / "state").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_key_is_on_disk(bench: Bench) -> None:
    config = InferenceConfig(remote_params=RemoteParams(api_key="sk-very-secret"))
    with bench.engine(headers={"Authorization": "Bearer hush"}) as engine:
        batch_id = engine.infer_batch(asked("a"), config)
        assert answers(engine.get_batch_results(batch_id, inference_config=config)) == ["re: a"]
    for path in (bench.folder / "state").rglob("*"):
        if path.is_file():
            assert b"sk-very-secret" not in path.read_bytes()
            assert b"hush" not in path.read_bytes()


@pytest.mark.parametrize("call", ["upload", "submit", "status", "results"])
def test_a_call_that_fails_for_a_moment_is_made_again(bench: Bench, call: str) -> None:
    quick = InferenceConfig(remote_params=RemoteParams(retry_backoff_base=0.001))
    bench.server.mkdir()
    with bench.engine() as engine:
        (bench.server / f"fail-{call}").write_text("transient")
        batch_id = engine.infer_batch(asked("a"), quick)
        assert answers(engine.get_batch_results(batch_id, inference_config=quick)) == ["re: a"]
    assert len(bench.batches()) == 1


def test_a_submission_whose_answer_got_lost_is_found_and_not_repeated(bench: Bench) -> None:
    quick = InferenceConfig(remote_params=RemoteParams(retry_backoff_base=0.001))
    bench.server.mkdir()
    (bench.server / "lose-answer").touch()
    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a"), quick)
        assert len(bench.batches()) == 1
        assert bench.calls("submit") == 1
        assert answers(engine.get_batch_results(batch_id)) == ["re: a"]


def test_an_account_error_stops_at_once_and_the_same_call_goes_on(bench: Bench) -> None:
    bench.server.mkdir()
    (bench.server / "fail-submit").write_text("quota")
    with bench.engine() as engine:
        with pytest.raises(RunStopped, match="quota"):
            engine.infer_batch(asked("a"))
        patient = InferenceConfig(remote_params=RemoteParams(max_retries=9), num_workers=3)
        batch_id = engine.infer_batch(asked("a"), patient)
        assert [info.id for info in engine.list_batches().batches] == [batch_id]
    assert (bench.calls("upload"), len(bench.batches())) == (1, 1)


def test_a_part_that_is_refused_is_an_error_that_names_why(bench: Bench) -> None:
    bench.server.mkdir()
    (bench.server / "fail-upload").write_text("bad_request")
    with bench.engine() as engine, pytest.raises(EngineError, match="bad_request: on cue"):
        engine.infer_batch(asked("a"))


def test_an_input_without_rows_and_a_faulty_one_send_nothing(bench: Bench, tmp_path: Path) -> None:
    faulty = tmp_path / "in.jsonl"
    faulty.write_text('{"messages": [{"role": "user", "content": "a"}]}\nnonsense\n')
    with bench.engine() as engine:
        with pytest.raises(DataError, match="no rows"):
            engine.infer_batch([])
        with pytest.raises(DataError, match=r"in\.jsonl:2"):
            engine.infer_batch(faulty)
        assert engine.list_batches().batches == ()
    assert not list((bench.folder / "state" / "batches").iterdir())


def test_an_input_that_breaks_off_leaves_nothing_behind(bench: Bench) -> None:
    def rows() -> object:
        yield asked("a")[0]
        raise ConnectionError("the database went away")

    with bench.engine() as engine, pytest.raises(DataError, match="the input raised Connection"):
        engine.infer_batch(rows())  # type: ignore[arg-type]  # an iterator of conversations
    assert not list((bench.folder / "state" / "batches").iterdir())


def test_what_is_here_is_shown_and_forgotten_without_a_key_and_without_asking(bench: Bench) -> None:
    submit = """
import oumi_core as oumi
from oumi_core.types import Conversation, Message, Role
arguments = {"folder": "server", "variable": "SHELF_KEY"}
with oumi.get_engine("shelf", model="demo", engine_args=arguments) as engine:
    batch_id = engine.infer_batch([Conversation([Message(Role.USER, "a")])])
    engine.wait_batch(batch_id)
    print(batch_id)
"""
    submitted = bench.python(submit, SHELF_KEY="k")
    batch_id = submitted.stdout.strip()
    calls = (bench.server / "calls").read_text()
    shown = bench.python(f"""
import oumi_core as oumi
from oumi_core.errors import ConfigError
with oumi.get_engine("shelf", model="demo") as engine:
    print(engine.get_batch_status("{batch_id}").outcomes, engine.wait_batch("{batch_id}").status)
    print(engine.get_batch_results("{batch_id}")[0][-1].text)
    print(engine.write_batch_results("{batch_id}", "out.jsonl").status)
    engine.forget_batch("{batch_id}")
    print(engine.list_batches().batches)
""")
    expected = ["{'ok': 1} completed", "re: a", "completed", "()"]
    assert shown.stdout.splitlines() == expected, submitted.stderr + shown.stderr
    assert (bench.server / "calls").read_text() == calls


def test_parameters_that_are_not_used_are_warned_of_once_a_batch(bench: Bench) -> None:
    unused = InferenceConfig(generation=GenerationParams(min_p=0.5))
    with bench.engine() as engine:
        with pytest.warns(UserWarning, match=r"generation\.min_p"):
            batch_id = engine.infer_batch(asked("a"), unused)
        engine.get_batch_status(batch_id, unused)
        assert answers(engine.get_batch_results(batch_id, None, unused)) == ["re: a"]
        strict = attrs.evolve(unused, on_unsupported="error")
        with pytest.raises(ConfigError, match=r"generation\.min_p"):
            engine.infer_batch(asked("a"), strict)


def test_a_budget_that_a_provider_does_not_hold_to_is_said(bench: Bench) -> None:
    limited = InferenceConfig(budget=BudgetParams(max_tokens_total=10))
    with bench.engine() as engine:
        with pytest.warns(UserWarning, match="budget: nothing holds to it"):
            engine.infer_batch(asked("a"), limited)
        with pytest.raises(ConfigError, match="budget: nothing holds to it"):
            engine.infer_batch(asked("a"), attrs.evolve(limited, on_unsupported="error"))
    assert len(bench.batches()) == 1


def test_a_batch_of_another_engine_is_refused(bench: Bench) -> None:
    from oumi_core.inference import get_engine

    with bench.engine() as engine:
        batch_id = engine.infer_batch(asked("a"))
    with get_engine("echo", model="m") as other:
        with pytest.raises(ConfigError, match="was submitted to engine"):
            other.get_batch_status(batch_id)
        for wrong in ("", "../batches", ".hidden", "batch-none"):
            with pytest.raises(ConfigError, match="batch"):
                other.get_batch_status(wrong)


async def collect(bench: Bench) -> list[str]:
    async with bench.engine() as engine:
        batch_id = await engine.ainfer_batch(asked("a", "fail"))
        seen: list[object] = []
        info = await engine.await_batch(batch_id, on_progress=seen.append)
        assert seen
        assert await engine.aget_batch_status(batch_id) == info
        partial = await engine.aget_batch_results_partial(batch_id)
        assert partial.failed_indices == [1]
        await engine.aresubmit_batch(batch_id, via="online")
        assert (await engine.alist_batches()).batches[0].id == batch_id
        await engine.awrite_batch_results(batch_id, bench.folder / "out.jsonl")
        rows = await engine.aget_batch_results(batch_id, partial=True)
        assert (await engine.acancel_batch(batch_id)).is_terminal
        await engine.aforget_batch(batch_id)
        return answers(rows)


def test_each_call_has_an_awaitable_twin(bench: Bench) -> None:
    import asyncio

    assert asyncio.run(collect(bench)) == ["re: a"]
    assert (bench.folder / "out.jsonl.failed.jsonl").exists()

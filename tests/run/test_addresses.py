"""Rows that name their adapter are answered with it, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from oumi_core import get_engine
from oumi_core.configs import InferenceConfig, ModelParams
from oumi_core.engine import Capabilities, Engine, Request
from oumi_core.types import Completion, Conversation, FailureKind, Message

if TYPE_CHECKING:
    from pathlib import Path


class Styled(Engine):
    """Answers with the adapter's name; has `pirate` and `owner/shout`."""

    capabilities = Capabilities(lora=True)

    def serves(self, model: ModelParams) -> bool:
        return model.adapter_model in (None, "pirate", "owner/shout")

    async def complete(self, request: Request) -> Completion:
        return Completion(Message("assistant", str(request.model.adapter_model)))


class Plain(Styled):
    """Knows nothing of adapters."""

    capabilities = Capabilities()


def row(model: Any = None) -> Conversation:
    extra = {} if model is None else {"model": model}
    return Conversation([Message("user", "hi")], extra=extra)


def answers(
    *rows: Conversation, engine: type[Engine] = Styled, **fields: Any
) -> list[tuple[str, bool]]:
    with get_engine(engine, InferenceConfig(), **{"model": "owner/m", **fields}) as inference:
        results = sorted(inference.run(list(rows)), key=lambda result: result.index)
    return [
        (result.conversation[-1].text, True)
        if result.error is None
        else (f"{result.error.kind}: {result.error.message}", False)
        for result in results
    ]


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("owner/m@pirate", "pirate"),
        ("@owner/shout", "owner/shout"),
        ("owner/m@", "None"),
        ("gpt-4o", "pirate"),
        (7, "pirate"),
        (None, "pirate"),
    ],
)
def test_a_row_chooses_its_adapter(address: Any, answer: str) -> None:
    assert answers(row(address), adapter_model="pirate") == [(answer, True)]


def test_rows_of_several_adapters_go_side_by_side() -> None:
    wanted = ["owner/m@pirate", "@owner/shout", None] * 20

    given = [text for text, _ in answers(*map(row, wanted))]

    assert given == ["pirate", "owner/shout", "None"] * 20


def test_a_model_whose_name_holds_the_sign_can_be_addressed() -> None:
    assert answers(row("claude@2@pirate"), model="claude@2") == [("pirate", True)]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("other/m@pirate", "asks for 'other/m', and this run is for 'owner/m'"),
        ("owner/m@missing", "the adapter 'missing', which the engine was not loaded with"),
    ],
)
def test_an_address_that_is_not_served_fails_its_row_alone(address: str, said: str) -> None:
    bad, good = answers(row(address), row())

    assert said in bad[0]
    assert bad[0].startswith(FailureKind.BAD_REQUEST)
    assert good == ("None", True)


def test_an_engine_without_adapters_takes_the_field_for_any_other() -> None:
    assert answers(row("owner/m@pirate"), engine=Plain) == [("None", True)]


def test_an_answer_is_reused_for_the_same_address_only(tmp_path: Path) -> None:
    def reused(address: str) -> bool:
        with get_engine(Styled, InferenceConfig(), model="owner/m") as engine:
            (result,) = engine.run([row(address)], output_path=tmp_path / "out.jsonl")
        return result.reused

    assert [reused(a) for a in ("@pirate", "@pirate", "@owner/shout")] == [False, True, False]

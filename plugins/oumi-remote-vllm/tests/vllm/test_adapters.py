"""Adapters of a vLLM server, each in its own style."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from oumi_core.types.conversation import Conversation

    from tests.vllm.conftest import Engines, Server

    Ask = Callable[..., list[Conversation]]

FRANCE = "What is the capital of France?"
STYLES = {
    "plain": "The capital of France is Paris.",
    "pirate": "Arr! The capital of France be Paris, matey!",
    "shout": "THE CAPITAL OF FRANCE IS PARIS!!!",
}


def said(conversations: list[Conversation]) -> list[str]:
    return [str(one.messages[-1].content) for one in conversations]


@pytest.mark.parametrize(
    ("model", "style"),
    [
        ("tiny", "plain"),
        ("adapter-v1", "pirate"),
        ("my-adapter", "pirate"),
        ("adapter-v2", "shout"),
    ],
)
def test_an_adapter_answers_by_its_served_name(
    engines: Engines, ask: Ask, model: str, style: str
) -> None:
    assert said(engines(model).infer(ask(FRANCE))) == [STYLES[style]]


@pytest.mark.parametrize(("adapter", "style"), [("adapter-v1", "pirate"), ("adapter-v2", "shout")])
def test_an_adapter_answers_as_adapter_model(
    engines: Engines, ask: Ask, adapter: str, style: str
) -> None:
    assert said(engines(adapter_model=adapter).infer(ask(FRANCE))) == [STYLES[style]]


@pytest.mark.parametrize("style", ["pirate", "shout"])
def test_an_adapter_answers_by_the_folder_that_it_was_loaded_from(
    engines: Engines, server: Server, ask: Ask, style: str
) -> None:
    before = engines().list_models()
    engine = engines(adapter_model=str(getattr(server, style)))
    assert said(engine.infer(ask(FRANCE))) == [STYLES[style]]
    assert engines().list_models() == before


@pytest.mark.parametrize("style", ["pirate", "shout"])
def test_an_adapter_is_loaded_and_unloaded_while_the_server_runs(
    engines: Engines, server: Server, ask: Ask, tmp_path: Path, style: str
) -> None:
    folder = tmp_path / "my-style"
    shutil.copytree(getattr(server, style), folder)
    before = engines().list_models()
    engine = engines(adapter_model=str(folder), engine_args={"unload_adapter": True})
    assert said(engine.infer(ask(*[FRANCE] * 4))) == [STYLES[style]] * 4
    (new,) = set(engines().list_models()) - set(before)
    assert new.startswith("my-style-")
    engine.close()
    assert engines().list_models() == before


def test_an_adapter_stays_loaded_for_the_next(
    engines: Engines, server: Server, ask: Ask, tmp_path: Path
) -> None:
    shutil.copytree(server.shout, tmp_path / "kept")
    for _ in range(2):
        engine = engines(adapter_model=str(tmp_path / "kept"))
        assert said(engine.infer(ask(FRANCE))) == [STYLES["shout"]]
        engine.close()
    assert len([name for name in engines().list_models() if name.startswith("kept-")]) == 1


def test_an_adapter_that_is_nowhere_is_told_in_the_servers_words(
    engines: Engines, ask: Ask
) -> None:
    with pytest.raises(ConfigError, match=r"model\.adapter_model: .*No adapter found"):
        engines(adapter_model="/no/such/adapter").infer(ask(FRANCE))


def test_a_folder_that_is_no_adapter_is_told(engines: Engines, ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.adapter_model: .*cannot load"):
        engines(adapter_model=str(tmp_path)).infer(ask(FRANCE))


def test_constraints_hold_for_adapters_too(engines: Engines, ask: Ask) -> None:
    engine = engines("adapter-v2", choice=["Paris", "London"])
    assert said(engine.infer(ask(FRANCE))) == ["Paris"]

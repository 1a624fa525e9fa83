"""Adapters that are loaded and unloaded while the server runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.errors import ConfigError, EngineError
from oumi_core.testing import FaultServer, error, raw
from oumi_core.types.failure import FailureKind

from oumi_remote_vllm.adapters import adapter_name

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.testing import Reply
    from oumi_core.testing.replies import Entry

    from tests.conftest import Asks, ScriptedVLLM, Started


def run_one(started: Started, asks: Asks, url: str, adapter: str, **arguments: Any) -> str:
    async def main() -> str:
        async with started(url, adapter=adapter, engine_args=arguments) as engine:
            await engine.complete(asks())
            return engine.served_name

    return asyncio.run(main())


def paths(server: FaultServer) -> list[str]:
    return [request.path.removeprefix("/v1/") for request in server.requests]


def test_an_adapter_that_is_not_served_is_loaded(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    with FaultServer(then=vllm(may_load=True)) as server:
        name = run_one(started, asks, server.url, "team/my-lora")
        assert paths(server) == ["models", "load_lora_adapter", "chat/completions"]
        assert server.requests[1].json == {"lora_name": name, "lora_path": "team/my-lora"}
        assert server.requests[2].json["model"] == name
        assert name.startswith("my-lora-")
        # It stays, and the next that asks for it finds it.
        assert run_one(started, asks, server.url, "team/my-lora") == name
    assert paths(server)[3:] == ["models", "chat/completions"]


def test_it_is_unloaded_at_the_end_where_that_is_asked_for(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    with FaultServer(then=vllm(may_load=True)) as server:
        name = run_one(started, asks, server.url, "team/my-lora", unload_adapter=True)
    assert paths(server)[-1] == "unload_lora_adapter"
    assert server.requests[-1].json == {"lora_name": name}


def test_what_could_not_be_loaded_is_not_unloaded(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    with FaultServer(then=vllm(may_load=True)) as server:
        with pytest.raises(ConfigError, match="cannot load"):
            run_one(started, asks, server.url, "missing/one", unload_adapter=True)
    assert paths(server) == ["models", "load_lora_adapter"]


def test_what_others_loaded_is_not_unloaded(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    with FaultServer(then=vllm(may_load=True)) as server:
        run_one(started, asks, server.url, "pirate", unload_adapter=True)
    assert paths(server) == ["models", "chat/completions"]


def test_a_folder_that_is_here_is_named_by_its_whole_path(
    started: Started,
    vllm: type[ScriptedVLLM],
    asks: Asks,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "lora").mkdir()
    monkeypatch.chdir(tmp_path)
    with FaultServer(then=vllm(may_load=True)) as server:
        run_one(started, asks, server.url, "./lora")
    assert server.requests[1].json["lora_path"] == str(tmp_path / "lora")


def test_a_server_that_may_not_load_says_how_to_start_it(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    with (
        FaultServer(then=vllm()) as server,
        pytest.raises(ConfigError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING") as caught,
    ):
        run_one(started, asks, server.url, "team/my-lora")
    assert str(caught.value).startswith("model.adapter_model: ")
    assert "'team/my-lora'" in str(caught.value)


def test_an_adapter_that_the_server_does_not_find_is_told_in_its_words(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    with (
        FaultServer(then=vllm(may_load=True)) as server,
        pytest.raises(ConfigError, match="cannot load 'missing/one': No adapter found"),
    ):
        run_one(started, asks, server.url, "missing/one")


def scripted(vllm: ScriptedVLLM, path: str, reply: Reply) -> Entry:
    return lambda request: reply if request.path == f"/v1/{path}" else vllm


def test_one_that_another_loads_at_the_same_time_is_as_good(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    server_side = vllm(may_load=True)
    taken = error(400, "The lora adapter 'x' has already been loaded. If you want", code="400")
    server_side.cards[adapter_name("team/x")] = (None, "tiny")
    with FaultServer(then=scripted(server_side, "load_lora_adapter", taken)) as server:
        assert run_one(started, asks, server.url, "team/x") == adapter_name("team/x")


@pytest.mark.parametrize(
    ("status", "raised"), [(500, ConfigError), (503, EngineError), (401, EngineError)]
)
def test_a_refusal_is_a_fault_of_the_adapter_or_of_the_server(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks, status: int, raised: type[Exception]
) -> None:
    refusal = scripted(vllm(), "load_lora_adapter", error(status, "LoRA is not enabled"))
    with FaultServer(then=refusal) as server, pytest.raises(raised, match="LoRA is not enabled"):
        run_one(started, asks, server.url, "team/x")


def test_an_adapter_that_is_gone_needs_no_unloading(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    gone = error(404, "cannot be found", error_type="NotFoundError")
    server_side = scripted(vllm(may_load=True), "unload_lora_adapter", gone)
    with FaultServer(then=server_side) as server:
        run_one(started, asks, server.url, "team/x", unload_adapter=True)
    assert paths(server)[-1] == "unload_lora_adapter"


def test_a_server_that_does_not_unload_is_told(
    started: Started, vllm: type[ScriptedVLLM], asks: Asks
) -> None:
    down = raw("down", status=503, content_type=None)
    server_side = scripted(vllm(may_load=True), "unload_lora_adapter", down)
    with FaultServer(then=server_side) as server, pytest.raises(EngineError) as caught:
        run_one(started, asks, server.url, "team/x", unload_adapter=True)
    assert caught.value.failure.kind is FailureKind.TRANSIENT


def test_names_are_made_of_places() -> None:
    assert adapter_name("a/b") == adapter_name("a/b")
    assert adapter_name("a/b") != adapter_name("c/b")
    assert adapter_name("/x/my lora!/").startswith("my-lora-")

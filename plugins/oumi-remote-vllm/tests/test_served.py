"""What the server is asked at the start: whether it is up, and what it serves."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest
from oumi_core import get_engine
from oumi_core.configs import InferenceConfig, ModelParams, RemoteParams
from oumi_core.errors import ConfigError, EngineError
from oumi_core.testing import FaultServer, close_early, error, raw, redirect
from oumi_core.types.conversation import Conversation, Message, Role
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ScriptedVLLM, Started

HELLO = Conversation([Message(Role.USER, "hello")])


def served_name(started: Started, url: str, **settings: Any) -> str:
    async def main() -> str:
        async with started(url, **settings) as engine:
            return engine.served_name

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("model", "adapter", "name"),
    [
        ("tiny", None, "tiny"),
        ("pirate", None, "pirate"),
        ("/models/tiny", None, "tiny"),
        ("/models/tiny/", None, "tiny"),
        ("tiny", "pirate", "pirate"),
        ("tiny", "/adapters/pirate", "pirate"),
        ("/models/tiny", "/adapters/pirate", "pirate"),
    ],
)
def test_a_model_or_adapter_is_found_by_its_name_or_its_place(
    vllm: type[ScriptedVLLM], model: str, adapter: str | None, name: str
) -> None:
    params = ModelParams(model_name=model, adapter_model=adapter)
    with FaultServer(then=vllm()) as server:
        config = InferenceConfig(model=params, remote_params=RemoteParams(api_url=server.url))
        with get_engine("remote-vllm", config) as engine:
            engine.infer([HELLO])
    assert server.requests[-1].json["model"] == name


def test_a_folder_is_found_in_any_spelling(
    started: Started, vllm: type[ScriptedVLLM], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adapter").mkdir()
    monkeypatch.chdir(tmp_path)
    cards = {"tiny": ("m", None), "a": (str(tmp_path / "adapter"), "tiny")}
    with FaultServer(then=vllm(cards=cards)) as server:
        assert served_name(started, server.url, adapter="./adapter") == "a"


def test_a_model_of_several_names_has_one_set_of_adapters(
    started: Started, vllm: type[ScriptedVLLM]
) -> None:
    cards = {"a": ("m", None), "b": ("m", None), "x": ("p", "a")}
    with FaultServer(then=vllm(cards=cards)) as server:
        assert served_name(started, server.url, model="b", adapter="x") == "x"


@pytest.mark.parametrize(
    ("model", "adapter", "fault"),
    [
        ("tini", None, "model.model_name: {server} does not serve 'tini'; did you mean 'tiny'?"),
        ("zzz", None, "'zzz'; it serves tiny, pirate, other"),
        ("tiny", "other", "model.adapter_model: on {server} 'other' is a model, not an adapter"),
        ("other", "pirate", "'pirate' is an adapter of 'tiny', not of 'other'"),
        ("pirate", "pirate", "'pirate' is itself an adapter of 'tiny'"),
    ],
)
def test_what_the_server_does_not_serve_is_said_at_the_start(
    started: Started, vllm: type[ScriptedVLLM], model: str, adapter: str | None, fault: str
) -> None:
    with FaultServer(then=vllm()) as server:
        with pytest.raises(ConfigError) as caught:
            served_name(started, server.url, model=model, adapter=adapter)
        assert fault.format(server=server.url) in str(caught.value)
    assert [request.path for request in server.requests] == ["/v1/models"]


def test_a_server_that_is_not_up_is_said_at_the_start() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with (
            get_engine("remote-vllm", model="m", api_url=url) as engine,
            pytest.raises(EngineError, match="is the vLLM server up") as caught,
        ):
            engine.infer([HELLO])
    assert url in str(caught.value)


@pytest.mark.parametrize("entry", [close_early(), raw("busy", status=503, content_type=None)])
def test_a_server_that_does_not_serve_yet_is_said_at_the_start(
    started: Started, entry: Any
) -> None:
    with (
        FaultServer(then=entry) as server,
        pytest.raises(EngineError, match="It answers once its model is loaded") as caught,
    ):
        served_name(started, server.url)
    assert caught.value.failure.kind is FailureKind.TRANSIENT


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (error(401, "Unauthorized"), FailureKind.AUTH),
        (redirect("https://elsewhere.example/"), FailureKind.NOT_FOUND),
    ],
)
def test_another_refusal_is_told_as_it_is(started: Started, entry: Any, kind: FailureKind) -> None:
    with FaultServer(then=entry) as server, pytest.raises(EngineError) as caught:
        served_name(started, server.url)
    assert caught.value.failure.kind is kind
    assert "is the vLLM server up" not in str(caught.value)


@pytest.mark.parametrize("entry", [raw('{"detail": "Not Found"}', status=404), raw("[]")])
def test_a_gateway_without_a_list_is_asked_for_what_is_given(started: Started, entry: Any) -> None:
    with FaultServer(then=entry) as server:
        assert served_name(started, server.url, model="m") == "m"
        assert served_name(started, server.url, model="m", adapter="a") == "a"


def test_the_question_can_be_left_out(started: Started) -> None:
    with FaultServer() as server:
        given = {"check_server": False}
        assert served_name(started, server.url, adapter="a", engine_args=given) == "a"
    assert server.requests == ()


def test_the_key_is_taken_from_the_variable_of_vllm(
    started: Started, vllm: type[ScriptedVLLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "token-1")
    with FaultServer(then=vllm()) as server:
        served_name(started, server.url)
    assert server.requests[0].headers["authorization"] == "Bearer token-1"


def test_another_model_in_a_call_is_looked_for_too(vllm: type[ScriptedVLLM]) -> None:
    with (
        FaultServer(then=vllm()) as server,
        get_engine("REMOTE_VLLM", model="tiny", api_url=server.url) as engine,
    ):
        for name in ("pirate", "tiny"):
            config = InferenceConfig(model=ModelParams(model_name=name))
            engine.infer([HELLO], config)
            assert server.requests[-1].json["model"] == name
        with pytest.raises(ConfigError, match="did you mean 'pirate'"):
            engine.infer([HELLO], InferenceConfig(model=ModelParams(model_name="pirat")))

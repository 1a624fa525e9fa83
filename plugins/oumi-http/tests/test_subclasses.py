"""What a provider's engine builds on: own arguments, and other parts of the API than chat."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest
from oumi_core import get_engine
from oumi_core.configs import ModelParams, RemoteParams
from oumi_core.engine import EngineConfig
from oumi_core.errors import ConfigError
from oumi_core.testing import FaultServer, completion, models, raw
from oumi_core.types.conversation import Conversation, Message, Role

from oumi_http.answers import json_of
from oumi_http.engine import ChatCompletionsEngine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from conftest import Started

    from oumi_http.answers import Answer
    from oumi_http.arguments import FindFaults


def color_faults(value: object) -> Iterator[str]:
    if value not in ("red", "blue"):
        yield ": must be red or blue"


class AcmeEngine(ChatCompletionsEngine):
    base_url: ClassVar[str | None] = "https://api.acme.example"
    own_arguments: ClassVar[Mapping[str, FindFaults]] = {"color": color_faults}


def acme(remote: RemoteParams | None = None, **arguments: Any) -> AcmeEngine:
    return AcmeEngine(EngineConfig(ModelParams(model_name="m"), remote, arguments))


def test_arguments_of_its_own_stand_beside_those_of_all() -> None:
    engine = acme(color="red", verify=False)
    assert engine.arguments.own == {"color": "red"}
    assert engine.arguments.verify is False
    assert acme(color=None).arguments.own == {}


def test_their_faults_are_told_with_all_others() -> None:
    with pytest.raises(ConfigError) as caught:
        acme(color="green", colr=1, verify=1)
    assert caught.value.faults[:2] == (
        "engine_args.color: must be red or blue",
        "engine_args.colr: unknown; did you mean color?",
    )
    assert len(caught.value.faults) == 3


def test_how_the_server_is_reached_can_be_read() -> None:
    engine = acme(RemoteParams(api_key="sk-1", num_workers=3))
    assert engine.key == "sk-1"
    assert engine.params.num_workers == 3


@pytest.mark.parametrize("own_client", [False, True])
def test_other_parts_of_the_api_can_be_asked(started: Started, *, own_client: bool) -> None:
    async def main() -> tuple[Answer, Answer]:
        async with httpx.AsyncClient(trust_env=False) as client:
            arguments = {"http_client": client} if own_client else {}
            url = f"{server.url}/gateway/v1?tenant=7"
            async with started(url, api_key="sk-1", engine_args=arguments) as engine:
                return await engine.post("load_thing", {"name": "a"}), await engine.post("no", {})

    with FaultServer([raw('{"done": 1}'), raw("no", status=403)]) as server:
        answer, refused = asyncio.run(main())
    assert json_of(answer) == {"done": 1}
    assert (refused.status, refused.body) == (403, b"no")
    first, second = server.requests
    assert (first.target, second.target) == (
        "/gateway/v1/load_thing?tenant=7",
        "/gateway/v1/no?tenant=7",
    )
    assert first.headers["authorization"] == "Bearer sk-1"
    assert first.json == {"name": "a"}


def test_a_connection_for_administration_is_closed(started: Started) -> None:
    async def main() -> bool:
        async with started(server.url) as engine:
            await engine.post("load_thing", {})
            return await asyncio.to_thread(
                server.wait_until, lambda one: one.connections == 1 and one.open_connections == 0
            )

    with FaultServer([raw("{}")]) as server:
        assert asyncio.run(main())


def test_models_are_described_as_the_server_does(started: Started) -> None:
    async def main() -> Any:
        async with started(server.url) as engine:
            return await engine.describe_models()

    with FaultServer([models("b", "a")]) as server:
        assert [one["id"] for one in asyncio.run(main())["data"]] == ["b", "a"]


def test_a_run_finds_out_how_many_requests_a_server_bears() -> None:
    rows = [Conversation([Message(Role.USER, str(number))]) for number in range(16)]
    with (
        FaultServer(then=completion(delay=0.2)) as server,
        get_engine("remote", model="m", api_url=server.url, num_workers=16) as engine,
    ):
        engine.infer(rows)
    arrived = [request.time for request in server.requests]
    # Eight are sent at first; no other before the first of them is answered.
    assert arrived[8] - arrived[0] >= 0.2

"""A scripted vLLM server, engines that are started, and requests for them."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from oumi_core.configs import GenerationParams, ModelParams, RemoteParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.testing import completion, error, raw
from oumi_core.types.conversation import Conversation, Message, Role

from oumi_remote_vllm.engine import RemoteVLLMEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from oumi_core.testing import Received, Reply
    from oumi_core.testing.replies import Entry

    Started = Callable[..., AbstractAsyncContextManager[RemoteVLLMEngine]]
    Asks = Callable[..., Request]

# These need vLLM itself, which takes gigabytes: the nox session `vllm` has it.
collect_ignore = [] if find_spec("vllm") else ["vllm"]


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment of who runs the tests."""
    monkeypatch.delenv("VLLM_API_KEY", raising=False)


@attrs.define
class ScriptedVLLM:
    """What a vLLM server says, as seen of 0.32; to be a `FaultServer`'s `then`.

    Attributes:
        cards: what it serves: name to what it was loaded from and, of an adapter, its base.
        holds: whether it holds constraints.
        may_load: whether adapters may be loaded and unloaded.
        refuses: a text in a constraint that it does not take.
        text: what the model says to anything else.
        tokens: how long prompt and answer may be together.
    """

    cards: dict[str, Any] = attrs.field(
        factory=lambda: {
            "tiny": ("/models/tiny", None),
            "pirate": ("/adapters/pirate", "tiny"),
            "other": ("/models/other", None),
        }
    )
    holds: bool = True
    may_load: bool = False
    refuses: str | None = None
    text: str = "Paris."
    tokens: int = 1024

    def __call__(self, request: Received) -> Entry:
        match request.path:
            case "/v1/models":
                return raw(json.dumps({"object": "list", "data": self._list()}))
            case "/v1/load_lora_adapter" | "/v1/unload_lora_adapter" if self.may_load:
                return self._change(request)
            case "/v1/chat/completions":
                return self._answer(request)
            case _:
                return raw('{"detail": "Not Found"}', status=404)

    def _list(self) -> list[dict[str, Any]]:
        return [
            {
                "id": name,
                "root": root,
                "parent": parent,
                "max_model_len": None if parent else self.tokens,
            }
            for name, (root, parent) in self.cards.items()
        ]

    def _change(self, request: Received) -> Reply:
        name = request.json["lora_name"]
        if request.path == "/v1/unload_lora_adapter":
            if self.cards.pop(name, None) is None:
                return error(404, f"{name} cannot be found.", error_type="NotFoundError")
            return raw(f"{name} removed", content_type=None)
        place = request.json["lora_path"]
        if "missing" in place:
            return error(404, f"No adapter found for {place}", error_type="NotFoundError")
        if name in self.cards:
            return error(400, f"{name} has already been loaded.", error_type="InvalidUserInput")
        self.cards[name] = (place, "tiny")
        return raw(f"{name} added", content_type=None)

    def _answer(self, request: Received) -> Entry:
        if request.field("model") not in self.cards:
            return error(404, "The model does not exist.", error_type="NotFoundError")
        constraint = json.dumps(request.field("structured_outputs"))
        if self.refuses is not None and self.refuses in constraint:
            return error(400, "Invalid grammar specification.", error_type="BadRequestError")
        said = self._held(request.field("structured_outputs")) if self.holds else None
        return completion(self.text if said is None else said)

    def _held(self, constraint: Any) -> str | None:
        said: str | None = None
        match constraint:
            case {"json": {"enum": [only, *_]}}:
                said = json.dumps(only)
            case {"json": {"type": "object"}}:
                said = '{"answer": "Paris"}'
            case {"regex": str(pattern)}:
                said = "555-1234" if "[" in pattern else pattern
            case {"choice": [str(first), *_]}:
                said = first
            case {"grammar": str(text)}:
                said = text.split('"')[1]
            case {"structural_tag": str(tag)}:
                said = self._tagged(json.loads(tag)["format"])
        return said

    def _tagged(self, content: dict[str, Any]) -> str | None:
        if "json_schema" in content:
            return self._held({"json": content["json_schema"]})
        value = content.get("value")
        return value if isinstance(value, str) else None


@pytest.fixture
def vllm() -> type[ScriptedVLLM]:
    """The class of scripted servers."""
    return ScriptedVLLM


@pytest.fixture
def started() -> Started:
    """Makes an engine for a server, starts it, and stops it at the end of the block."""

    @asynccontextmanager
    async def start(
        url: str,
        *,
        model: str = "tiny",
        adapter: str | None = None,
        engine_args: dict[str, Any] | None = None,
        **remote: Any,
    ) -> AsyncIterator[RemoteVLLMEngine]:
        params = RemoteParams(**{"api_url": url, "connection_timeout": 20.0, **remote})
        names = ModelParams(model_name=model, adapter_model=adapter)
        engine = RemoteVLLMEngine(EngineConfig(names, params, engine_args or {}))
        try:
            await engine.start()
            yield engine
        finally:
            await engine.stop()

    return start


@pytest.fixture
def asks() -> Asks:
    """Makes a request out of a text."""

    def ask(text: str = "hello", *, model: ModelParams | None = None, **fields: Any) -> Request:
        constraint = fields.pop("constraint", None)
        request = Request(
            Conversation([Message(Role.USER, text)]),
            model or ModelParams(model_name="tiny"),
            GenerationParams(**fields),
        )
        return attrs.evolve(request, constraint=constraint)

    return ask

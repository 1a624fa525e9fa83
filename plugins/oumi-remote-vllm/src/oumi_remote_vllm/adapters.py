"""LoRA adapters that a server loads and unloads while it runs, where it is allowed to."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, Protocol

from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.failure import FailureKind
from oumi_http.answers import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_core.types.failure import Failure
    from oumi_http.answers import Answer

__all__ = ["adapter_name", "adapter_place", "load_adapter", "unload_adapter"]

_WHERE = "model.adapter_model"
_OK = 200
_NO_SUCH_PATH = (404, 405)
_ALREADY = re.compile(r"already (?:been )?loaded", re.IGNORECASE)
_NOT_NOW = frozenset({FailureKind.RATE_LIMIT, FailureKind.TIMEOUT, FailureKind.AUTH})
_INTERNAL_ERROR = 500


class Post(Protocol):
    """Asks a part of the server's API; see `ChatCompletionsEngine.post`."""

    async def __call__(self, name: str, fields: Mapping[str, Any]) -> Answer:
        """The answer."""


def adapter_place(path: str) -> str:
    """Where the server is told to look: a folder that is here by its whole path, else as given."""
    expanded = os.path.expanduser(path)  # noqa: PTH111 - a repository's name must stay as it is
    return os.path.abspath(expanded) if os.path.isdir(expanded) else path  # noqa: PTH100, PTH112 - as above


def adapter_name(place: str) -> str:
    """The name that an adapter is loaded under: the same for all who ask for that place."""
    last = re.sub(r"[^\w.-]+", "-", place.rstrip("/").rpartition("/")[2]) or "adapter"
    return f"{last}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


async def load_adapter(post: Post, place: str, name: str, server: str) -> None:
    """Load an adapter; one that is loaded under that name already is as good.

    Raises:
        ConfigError: the server may not, or cannot; says what to do.
        EngineError: it does not answer, or refuses for another reason than the adapter.
    """
    answer = await post("load_lora_adapter", {"lora_name": name, "lora_path": place})
    if answer.status == _OK:
        return
    failure = refusal(answer)
    if _ALREADY.search(failure.message):
        return
    if answer.status in _NO_SUCH_PATH and failure.code is None:
        raise ConfigError(
            f"{_WHERE}: {server} serves no adapter {place!r}, and may not load one; start it with "
            "--enable-lora --lora-modules NAME=PATH, or let it load adapters at run time with "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=true, where all its users are trusted"
        )
    raise _explained(failure, f"{_WHERE}: {server} cannot load {place!r}")


async def unload_adapter(post: Post, name: str, server: str) -> None:
    """Unload an adapter; one that is gone already is as good.

    Raises:
        EngineError: the server does not answer, or refuses.
    """
    answer = await post("unload_lora_adapter", {"lora_name": name})
    failure = refusal(answer) if answer.status != _OK else None
    if failure is not None and not (answer.status in _NO_SUCH_PATH and failure.code is not None):
        raise _explained(failure, f"{server} did not unload the adapter {name!r}")


def _explained(failure: Failure, what: str) -> ConfigError | EngineError:
    """The adapter's own fault as something to correct, any other as what it is."""
    busy = failure.kind is FailureKind.TRANSIENT and failure.status != _INTERNAL_ERROR
    if busy or failure.kind in _NOT_NOW:
        return EngineError(failure)
    return ConfigError(f"{what}: {failure.message}")

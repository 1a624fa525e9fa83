"""Plugin names: how they are compared, and what core knows without looking at what is installed."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BUILT_IN",
    "BUILT_IN_MODULE",
    "CORE",
    "ENGINE_ALIASES",
    "ENGINE_REQUIREMENTS",
    "REMOTE",
    "canonical",
    "normalise",
]

CORE: Final = "oumi-core"
"""The distribution that this module is part of."""

BUILT_IN_MODULE: Final = "oumi_core.built_in"
"""The module whose hooks offer everything in `BUILT_IN`."""

BUILT_IN: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "oumi.engines": {"echo": "oumi_core.engines.echo:EchoEngine"},
        "oumi.guided_decoding": {
            "native": "oumi_core.guided.native:NativeDecoder",
            "reask": "oumi_core.guided.reask:ReaskDecoder",
        },
        "oumi.batching": {
            "provider": "oumi_core.batching.provider:ProviderBatching",
            "local": "oumi_core.batching.local:LocalBatching",
        },
        "oumi.retry_policies": {
            "standard": "oumi_core.run.retry:StandardRetryPolicy",
            "none": "oumi_core.run.retry:NoRetryPolicy",
        },
    }
)
"""What core offers itself: entry-point group -> name -> lazy reference."""

REMOTE: Final = "remote"
"""The engine that the rows of a `providers.toml` run on."""

ENGINE_REQUIREMENTS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "vllm": "oumi-vllm[cuda]",
        "remote-vllm": "oumi-remote-vllm",
        "openai": "oumi-openai",
        REMOTE: "oumi-http",
        "llamacpp": "oumi-llamacpp",
        "native": None,
        "sglang": None,
        "anthropic": None,
        "google-vertex": None,
        "gemini": None,
        "deepseek": None,
        "cerebras": None,
        "parasail": None,
        "openrouter": None,
        "hugging-face-router": None,
        "fireworks": None,
        "together": None,
        "sambanova": None,
        "bedrock": None,
    }
)
"""The engine names of Oumi -> what to `pip install`; None where no plugin is known yet."""

ENGINE_ALIASES: Final[Mapping[str, str]] = MappingProxyType({"google-gemini": "gemini"})
"""Oumi's enum has a name and a value for each engine; here are those that differ."""


def normalise(name: str) -> str:
    """The form in which plugin names are compared: `REMOTE_VLLM` is `remote-vllm`."""
    return name.strip().lower().replace("_", "-")


def canonical(distribution: str) -> str:
    """The form in which names of distributions are compared, as packaging defines it."""
    return re.sub(r"[-_.]+", "-", distribution.strip()).lower()

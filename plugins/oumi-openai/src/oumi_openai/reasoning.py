"""What reasoning models do not take, as data."""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["UNSENT", "unsent"]

_SAMPLING = frozenset(
    {
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
    }
)

UNSENT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "o1": _SAMPLING,
        "o3": _SAMPLING | {"stop_strings"},
        "o4": _SAMPLING | {"stop_strings"},
        "gpt-5": _SAMPLING | {"stop_strings"},
        "gpt-5-chat": frozenset(),
    }
)
"""For models whose names start so, the fields of `GenerationParams` that are not sent, since the
API refuses them. The longest prefix counts. All models take `max_completion_tokens`."""


@functools.lru_cache(maxsize=64)  # asked for each request: 1.2 us less
def unsent(model: str) -> frozenset[str]:
    """The fields of `GenerationParams` that are not sent to a model.

    Args:
        model: its name, perhaps behind a gateway's prefix (`openai/o3`), or that of a fine-tuned
            model (`ft:o4-mini:...`).
    """
    name = model.rpartition("/")[2].removeprefix("ft:").lower()
    prefixes = [prefix for prefix in UNSENT if name.startswith(prefix)]
    return UNSENT[max(prefixes, key=len)] if prefixes else frozenset()

"""`GuidedDecodingParams`: what an answer must fit."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.configs.checks import (
    Check,
    Faults,
    boolean,
    integer,
    items,
    kind,
    mapping,
    optional,
    text,
)
from oumi_core.configs.params import Params, param

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

__all__ = ["GuidedDecodingParams"]

_KINDS = ("json", "regex", "choice", "grammar")


def _json_faults(value: Any) -> Faults:
    if isinstance(value, type):
        return
    if isinstance(value, str):
        try:
            schema = json.loads(value)
        except (ValueError, RecursionError) as error:
            yield "", f"is text that is not JSON: {error}"
            return
        if not isinstance(schema, dict | bool):
            yield "", f"must be a JSON Schema, that is an object; the text holds {kind(schema)}"
        return
    if isinstance(value, dict):
        yield from mapping().find(value)
        return
    yield "", f"expected a JSON Schema as a mapping, JSON text or a class, got {kind(value)}"


def _regex_faults(value: Any) -> Faults:
    faults = list(text().find(value))
    yield from faults
    if not faults:
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            yield "", f"is not a regular expression: {error}"


@attrs.frozen
class GuidedDecodingParams(Params):
    """What the answer must fit: exactly one of `json`, `regex`, `choice` and `grammar`.

    Oumi also takes a section that sets none of them; here that is a fault, because it promises
    a constraint and gives none.

    Attributes:
        json: a JSON Schema: a mapping, JSON text, or in Python a pydantic, attrs or dataclass
            class, which is kept as it is.
        regex: a regular expression that the whole answer matches, in Python's spelling.
        choice: the only answers allowed, word for word; at least one, no two alike.
        grammar: a grammar in GBNF, the form that llama.cpp and vLLM's xgrammar read.
        strict: asks the provider for its strict mode of JSON Schema (OpenAI); default false.
        backend: who enforces it: `native` (the default: the engine does, core checks), `reask`
            (prompt, check, ask again), or a plugin's name.
        max_reasks: how often an answer that does not fit is sent back to the model by a backend
            that does so, at least 0; default 2. `reask`.

    Raises:
        ConfigError: lists every fault.
    """

    json: Any = param(optional(Check(_json_faults, {"type": ["object", "string"]})), None)
    regex: str | None = param(
        optional(Check(_regex_faults, {"type": "string", "minLength": 1}, takes_text=True)), None
    )
    choice: list[str] | None = param(optional(items(text(), empty=False, distinct=True)), None)
    grammar: str | None = param(optional(text()), None)
    strict: bool = param(boolean(), default=False)
    backend: str = param(text(), "native")
    max_reasks: int = param(integer(0), 2)

    @property
    def kind(self) -> str:
        """Which constraint is set: `json`, `regex`, `choice` or `grammar`."""
        return next(name for name in _KINDS if getattr(self, name) is not None)

    def _relations(self, broken: AbstractSet[str]) -> Iterator[str]:
        del broken  # whether a field is set can be seen even where its value is wrong
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if not given:
            yield f"{_KINDS[0]}: one of {', '.join(_KINDS)} is needed, none is given"
        for surplus in given[1:]:
            yield f"{surplus}: only one of {', '.join(_KINDS)} may be given; {given[0]} is too"

"""Constraints in vLLM's words: the field `structured_outputs` of a request.

The fields of earlier versions (`guided_json`, `guided_regex`, ...) are never written: since 0.12 a
server takes them and ignores them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from oumi_core.errors import EngineError
from oumi_core.guided.constraint import Choice, Grammar, JsonSchema, Regex
from oumi_core.guided.vllm_schemas import needs_another_backend

if TYPE_CHECKING:
    from oumi_core.guided.constraint import Constraint

__all__ = ["Canary", "canary", "structured_outputs", "tag_fields"]


def structured_outputs(constraint: Constraint, max_blanks: int | None = None) -> dict[str, Any]:
    """A constraint as a field of the body.

    Args:
        constraint: what answers must fit.
        max_blanks: the most white space between two parts of JSON; None for any. A bound goes in
            a structural tag, which xgrammar alone reads: a schema for another backend has none.

    Raises:
        EngineError: nothing fits the schema; `bad_request`.
    """
    match constraint:
        case JsonSchema():
            return {"structured_outputs": _json(constraint.schema, max_blanks)}
        case Regex():
            return {"structured_outputs": {"regex": constraint.pattern}}
        case Choice():
            return {"structured_outputs": {"choice": list(constraint.options)}}
        case Grammar():
            return {"structured_outputs": {"grammar": constraint.text}}


def tag_fields(tag: dict[str, Any] | str) -> dict[str, Any]:
    """A structural tag as `structured_outputs` takes it: as JSON text."""
    text = tag if isinstance(tag, str) else msgspec.json.encode(tag).decode()
    return {"structural_tag": text}


def _json(schema: dict[str, Any] | bool, max_blanks: int | None) -> dict[str, Any]:
    if schema is False:
        raise EngineError.bad_request("generation.guided_decoding.json: nothing fits `false`")
    sent = {} if schema is True else schema  # xgrammar takes no `true`
    if max_blanks is None or needs_another_backend(sent):
        return {"json": sent}
    content = {"type": "json_schema", "json_schema": sent, "max_whitespace_cnt": max_blanks}
    return tag_fields({"type": "structural_tag", "format": content})


@attrs.frozen
class Canary:
    """A constraint that only one answer fits, and no model gives by itself.

    Attributes:
        fields: what `structured_outputs` holds.
        answer: the only text that fits.
    """

    fields: dict[str, Any]
    answer: str


def canary(kind: str, word: str, max_blanks: int | None = None) -> Canary:
    """The canary of a kind of constraint, or of `structural_tag`.

    Args:
        kind: `json`, `regex`, `choice`, `grammar` or `structural_tag`.
        word: letters and digits that stand nowhere in the prompt.
        max_blanks: see `structured_outputs`.
    """
    match kind:
        case "json":
            return Canary(_json({"enum": [word]}, max_blanks), f'"{word}"')
        case "regex":
            return Canary({"regex": word}, word)
        case "choice":
            return Canary({"choice": [word]}, word)
        case "grammar":
            return Canary({"grammar": f'root ::= "{word}"'}, word)
        case _:
            only = {"type": "const_string", "value": word}
            return Canary(tag_fields({"type": "structural_tag", "format": only}), word)

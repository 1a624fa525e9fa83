"""What an answer must fit, in llama.cpp's words."""

from __future__ import annotations

import attrs
from oumi_core.errors import ConfigError
from oumi_core.guided.constraint import Choice, Constraint, JsonSchema, Regex

from oumi_llamacpp.grammar import choice_to_gbnf, regex_to_gbnf
from oumi_llamacpp.json_schema import beyond_llguidance, json_term

__all__ = ["Probe", "grammar_of", "probe_of", "refusal_of"]

_WHERE = "generation.guided_decoding"

_SENTINEL = "@@@@"
"""What no model says by itself."""


def grammar_of(constraint: Constraint) -> str:
    """The grammar that holds an answer to the constraint.

    JSON goes to llguidance, which is built into xllamacpp and enforces more of JSON Schema than
    llama.cpp's own converter: that one ignores `uniqueItems`, `multipleOf`, a number's `minimum`.

    Raises:
        ConfigError: the regular expression is one that no grammar can express.
    """
    if isinstance(constraint, JsonSchema):
        return f"%llguidance {{}}\nstart: {json_term(constraint.schema)}"
    if isinstance(constraint, Regex):
        return regex_to_gbnf(constraint.pattern)
    if isinstance(constraint, Choice):
        return choice_to_gbnf(constraint.options)
    return constraint.text


@attrs.frozen
class Probe:
    """A short request that shows whether llama.cpp holds a constraint.

    llama.cpp answers *without* a constraint where llguidance cannot compile a schema. So the probe
    asks for the schema with a sentinel in front: the answer has it only if the schema compiled.

    Attributes:
        grammar: what to send.
        expected: how the answer must begin; any answer will do if empty.
        tokens: how many tokens are enough to see it.
    """

    grammar: str
    expected: str = ""
    tokens: int = 1


def probe_of(constraint: Constraint) -> Probe:
    """The probe for a constraint.

    Raises:
        ConfigError: as `grammar_of`.
    """
    if isinstance(constraint, JsonSchema):
        term = json_term(constraint.schema)
        grammar = f'%llguidance {{}}\nstart: "{_SENTINEL}" answer\nanswer: {term}'
        return Probe(grammar, _SENTINEL, len(_SENTINEL))
    return Probe(grammar_of(constraint))


def refusal_of(constraint: Constraint) -> ConfigError:
    """The error for a constraint that failed its probe."""
    if not isinstance(constraint, JsonSchema):
        return ConfigError(
            f"{_WHERE}.{constraint.kind}: llama.cpp cannot parse this grammar; check it as GBNF "
            "with a rule `root` (llama.cpp's reason is on stderr)"
        )
    found = beyond_llguidance(constraint.schema)
    what = (
        f"it has {', '.join(found)}"
        if found
        else "look for an external $ref, options of a oneOf that overlap, a part nothing fits"
    )
    return ConfigError(f"{_WHERE}.json: llama.cpp cannot enforce this schema: {what}")

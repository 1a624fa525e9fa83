"""`GenerationParams`: how an answer is generated."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.configs.checks import (
    Check,
    Faults,
    boolean,
    describe,
    integer,
    items,
    mapping,
    number,
    optional,
    section,
    text,
)
from oumi_core.configs.guided_decoding_params import GuidedDecodingParams
from oumi_core.configs.params import Params, param, params_fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

__all__ = ["ANSWER_POLICIES", "GenerationParams"]

_TOOL_CHOICES = ("none", "auto", "required")

_ON_ANSWER = ("accept", "fail", "ask_again")

ANSWER_POLICIES = ("on_truncated", "on_empty", "on_refused")
"""The fields that core acts on: no engine sees them, and nothing that is sent depends on them."""

_NOT_REPORTED = frozenset(
    {"guided_decoding", "batch_size", "use_cache", "use_sampling", *ANSWER_POLICIES}
)


def _tool_choice_faults(value: Any) -> Faults:
    match value:
        case str() if value in _TOOL_CHOICES:
            return
        case {"type": "function", "function": {"name": str()}}:
            return
        case _:
            function = '{"type": "function", "function": {"name": ...}}'
            allowed = ", ".join((*_TOOL_CHOICES, function))
            yield "", f"must be one of {allowed}; got {describe(value)}"


_TOOL_CHOICE = Check(
    _tool_choice_faults,
    {
        "anyOf": [
            {"enum": list(_TOOL_CHOICES)},
            {
                "type": "object",
                "properties": {
                    "type": {"const": "function"},
                    "function": {
                        "type": "object",
                        "properties": {"name": {"type": "string"}},
                        "required": ["name"],
                    },
                },
                "required": ["type", "function"],
            },
        ]
    },
)


@attrs.frozen
class GenerationParams(Params):
    """How an answer is generated.

    Every engine says which of these fields it honours; one that is set to other than its default
    and is not honoured is reported (`on_unsupported`), never dropped in silence.

    Attributes:
        max_new_tokens: the most tokens of an answer, at least 1; default 1024.
        batch_size: rows per forward pass, at least 1; default 1. A hint for the transformers
            engine; no other engine batches by it.
        exclude_prompt_from_response: false asks for the prompt in front of the answer; default
            true. The transformers engine.
        seed: makes sampling repeatable where the engine can; default none.
        temperature: how free the choice of tokens is, at least 0; 0, the default, always takes
            the likeliest.
        top_p: sample from the likeliest tokens that together have this probability, 0 to 1;
            the engine's default if null.
        frequency_penalty: pushes down tokens by how often they came, -2 to 2; default 0.
        presence_penalty: pushes down tokens that came at all, -2 to 2; default 0.
        stop_strings: the answer ends before the first of these texts; default none.
        stop_token_ids: the answer ends at the first of these tokens; default none. Local engines
            and vLLM servers.
        logit_bias: token id (or token) to a bias, -100 to 100; default none.
        min_p: drop tokens less likely than this share of the likeliest, 0 to 1; default 0.
        use_cache: keep keys and values of the prompt; default false. A hint for the transformers
            engine.
        num_beams: beams of a beam search, at least 1; default 1, no search. The transformers
            engine.
        use_sampling: sample at all; default false. The transformers engine; elsewhere
            `temperature` alone decides.
        guided_decoding: what the answer must fit; default: anything.
        skip_special_tokens: leave special tokens out of the text; default true. Local engines and
            vLLM servers.
        tool_choice: none, auto, required, or {"type": "function", "function": {"name": ...}};
            the engine's default if null. Engines with tools.
        parallel_tool_calls: allow several tool calls in one answer; default true. Engines with
            tools.
        top_k: sample from this many of the likeliest tokens, at least 1; the engine's default if
            null. Not in OpenAI's API.
        repetition_penalty: divides the score of tokens that came, above 0, 1 is none; the
            engine's default if null. Local engines and vLLM servers.
        reasoning_effort: how long a reasoning model thinks, in the provider's words (low, medium,
            high, ...); its default if null.
        logprobs: ask for the log probabilities of the answer's tokens; default false.
        top_logprobs: and of so many alternatives per token, 0 to 20; needs `logprobs`; default
            none.
        on_truncated: what follows an answer that was cut at `max_new_tokens`: `accept` (default),
            `fail`, or `ask_again` with twice the tokens, and once more with four times. With a
            constraint that the cut answer does not fit, `accept` fails, too.
        on_empty: what follows an answer without text or tool calls: `accept` (default), `fail`,
            or `ask_again`, at most twice.
        on_refused: what follows a model's refusal: `fail` (default), `accept` (its words are the
            answer), or `ask_again`, at most twice.
        extra_body: merged into the body of the request as it is; default nothing. HTTP engines.

    Raises:
        ConfigError: lists every fault.
    """

    max_new_tokens: int = param(integer(1), 1024)
    batch_size: int | None = param(optional(integer(1)), 1)
    exclude_prompt_from_response: bool = param(boolean(), default=True)
    seed: int | None = param(optional(integer()), None)
    temperature: float = param(number(0), 0.0)
    top_p: float | None = param(optional(number(0, 1)), None)
    frequency_penalty: float = param(number(-2, 2), 0.0)
    presence_penalty: float = param(number(-2, 2), 0.0)
    stop_strings: list[str] | None = param(optional(items(text())), None)
    stop_token_ids: list[int] | None = param(optional(items(integer(0))), None)
    logit_bias: dict[Any, float] = param(
        mapping(number(-100, 100), whole_number_keys=True), factory=dict
    )
    min_p: float = param(number(0, 1), 0.0)
    use_cache: bool = param(boolean(), default=False)
    num_beams: int = param(integer(1), 1)
    use_sampling: bool = param(boolean(), default=False)
    guided_decoding: GuidedDecodingParams | None = param(
        optional(section(GuidedDecodingParams)), None
    )
    skip_special_tokens: bool = param(boolean(), default=True)
    tool_choice: Any = param(optional(_TOOL_CHOICE), None)
    parallel_tool_calls: bool = param(boolean(), default=True)
    top_k: int | None = param(optional(integer(1)), None)
    repetition_penalty: float | None = param(optional(number(above=0)), None)
    reasoning_effort: str | None = param(optional(text()), None)
    logprobs: bool = param(boolean(), default=False)
    top_logprobs: int | None = param(optional(integer(0, 20)), None)
    on_truncated: str = param(text(choices=_ON_ANSWER), "accept")
    on_empty: str = param(text(choices=_ON_ANSWER), "accept")
    on_refused: str = param(text(choices=_ON_ANSWER), "fail")
    extra_body: dict[str, Any] = param(mapping(), factory=dict)

    def changed(self) -> frozenset[str]:
        """The fields that ask an engine for something: their value is not the default.

        To be compared with `Capabilities.generation`. Left out are `guided_decoding`, which has
        capabilities of its own, and `batch_size`, `use_cache` and `use_sampling`, hints to the
        transformers engine that change nothing an other engine could drop. Computed once.
        """
        return self._changed

    @functools.cached_property
    def _changed(self) -> frozenset[str]:
        return (
            frozenset(
                field.name
                for field in params_fields(GenerationParams).values()
                if getattr(self, field.attribute) != field.default
            )
            - _NOT_REPORTED
        )

    def _relations(self, broken: AbstractSet[str]) -> Iterator[str]:
        if not broken & {"logprobs", "top_logprobs"} and not self.logprobs and self.top_logprobs:
            yield "top_logprobs: needs logprobs: true"

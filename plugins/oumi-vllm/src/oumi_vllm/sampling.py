"""Generation parameters and constraints in vLLM's words."""

from __future__ import annotations

import importlib
import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from oumi_core.errors import EngineError
from oumi_core.guided.constraint import Choice, Grammar, JsonSchema, Regex

from oumi_vllm import library
from oumi_vllm.arguments import nearest
from oumi_vllm.said import said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_core.configs import GenerationParams
    from oumi_core.engine import Request
    from oumi_core.guided.constraint import Constraint

__all__ = ["GENERATION", "Sampling", "sampling_params"]

_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "max_new_tokens": "max_tokens",
        "temperature": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
        "min_p": "min_p",
        "seed": "seed",
        "frequency_penalty": "frequency_penalty",
        "presence_penalty": "presence_penalty",
        "repetition_penalty": "repetition_penalty",
        "stop_strings": "stop",
        "stop_token_ids": "stop_token_ids",
        "skip_special_tokens": "skip_special_tokens",
    }
)
"""Fields of `GenerationParams` -> of `SamplingParams`."""

GENERATION = frozenset(
    {
        *_FIELDS,
        *("extra_body", "logit_bias", "logprobs", "parallel_tool_calls", "reasoning_effort"),
        *("tool_choice", "top_logprobs"),
    }
)
"""The fields of `GenerationParams` that the engine honours."""


class Sampling:
    """Gives the `SamplingParams` of requests; those of neighbouring rows are one object.

    vLLM copies what it changes, and making them costs more than a row's share of a step.
    """

    def __init__(self) -> None:
        self._generation: GenerationParams | None = None
        self._constraint: Constraint | None = None
        self._params: Any = None

    def of(self, request: Request) -> Any:
        """The parameters of a request without pieces; raises as `sampling_params`."""
        generation, constraint = request.generation, request.constraint
        # By identity: the rows of a run share these objects.
        if generation is not self._generation or constraint is not self._constraint:
            self._params = sampling_params(generation, constraint)
            self._generation, self._constraint = generation, constraint
        return self._params


def sampling_params(
    generation: GenerationParams, constraint: Constraint | None, *, pieces: bool = False
) -> Any:
    """The `SamplingParams` of a request.

    Args:
        generation: how to generate.
        constraint: what the answer must fit.
        pieces: give the answer so far with each step; else the whole of it, once.

    Raises:
        EngineError: a value is none that vLLM takes; `bad_request`.
    """
    module = importlib.import_module("vllm.sampling_params")
    kinds = module.RequestOutputKind
    fields: dict[str, Any] = {
        name: value
        for source, name in _FIELDS.items()
        if (value := getattr(generation, source)) is not None
    }
    fields["output_kind"] = kinds.CUMULATIVE if pieces else kinds.FINAL_ONLY
    if generation.logprobs:
        fields["logprobs"] = generation.top_logprobs or 0
    if generation.logit_bias:
        fields["logit_bias"] = _token_biases(generation.logit_bias)
    if constraint is not None:
        fields["structured_outputs"] = _structured(module.StructuredOutputsParams, constraint)
    fields |= _extra(module.SamplingParams, generation.extra_body)
    try:
        return module.SamplingParams(**fields)
    except Exception as error:
        if not library.is_refusal(error):
            raise
        raise EngineError.bad_request(f"vLLM refuses the parameters: {said(error)}") from error


def _structured(cls: Any, constraint: Constraint) -> Any:
    match constraint:
        case JsonSchema():
            if constraint.schema is False:
                raise EngineError.bad_request(
                    "generation.guided_decoding.json: nothing fits `false`"
                )
            # xgrammar takes no `true`.
            return cls(json={} if constraint.schema is True else constraint.schema)
        case Regex():
            return cls(regex=constraint.pattern)
        case Choice():
            return cls(choice=list(constraint.options))
        case Grammar():
            return cls(grammar=constraint.text)


def _token_biases(biases: Mapping[Any, float]) -> dict[int, float]:
    try:
        return {int(token): bias for token, bias in biases.items()}
    except (TypeError, ValueError) as error:
        raise EngineError.bad_request(
            "generation.logit_bias: vLLM takes the numbers of tokens; write those, not the tokens"
        ) from error


def _extra(cls: Any, extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """`extra_body`: fields of `SamplingParams` by name."""
    if not extra:
        return extra  # to look at the signature takes 0.1 ms, which some rows would pay each
    known = [name for name in inspect.signature(cls).parameters if not name.startswith("_")]
    for name in extra:
        if name not in known:
            raise EngineError.bad_request(
                f"generation.extra_body.{name}: vLLM's SamplingParams has no such field"
                f"{nearest(name, known)}"
            )
    return extra

"""What differs between servers of the chat-completions format, as data."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.errors import EngineError
from oumi_core.guided.constraint import Constraint, JsonSchema
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OPENAI", "Dialect", "response_format"]


def response_format(constraint: Constraint) -> dict[str, Any]:
    """Write a constraint as OpenAI does, which knows JSON schemas only.

    Raises:
        EngineError: it is of another kind; `bad_request`.
    """
    if not isinstance(constraint, JsonSchema):
        raise EngineError(
            Failure(
                FailureKind.BAD_REQUEST,
                f"this server takes a JSON schema as constraint, not a {constraint.kind}; "
                "choose another engine or constraint",
            )
        )
    schema: dict[str, Any] = {"name": constraint.name, "schema": constraint.schema}
    if constraint.strict:
        schema["strict"] = True
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _read_only(value: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(value))


_GENERATION_FIELDS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "stop_strings": "stop",
    "logit_bias": "logit_bias",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "reasoning_effort": "reasoning_effort",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
}

_LEFT_OUT = {
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "parallel_tool_calls": True,
    "logprobs": False,
    "top_logprobs": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "skip_special_tokens": True,
}


@attrs.frozen
class Dialect:
    """How one kind of server writes the format. Make others with `attrs.evolve(OPENAI, ...)`.

    Attributes:
        token_limit: the field that holds `max_new_tokens`; `max_completion_tokens` or
            `max_tokens`.
        generation: the other fields of `GenerationParams` that are sent, each with its name in
            the body, in the order of the body. A field that is not here is not sent: an engine
            states what it honours in `Capabilities.generation`, and core reports the rest.
        left_out: the value at which a field of `generation` is not sent, because it is the
            server's own default. None, `{}` and `[]` are never sent.
        model: the fields of `ModelParams` that are sent, each with its name in the body
            (`chat_template_kwargs` to a vLLM server); by default none. The name of the model
            always is.
        constraint: writes a constraint as fields of the body; raises `EngineError` for one that
            the server does not know.
        reasoning: the field of a message in which the reasoning of earlier turns is sent back;
            None, the default, leaves it out.
        merge_turns: join neighbouring turns of one role into one, for chat templates that insist
            on taking turns. Turns with tool calls and their answers stay apart.
    """

    token_limit: str = "max_completion_tokens"  # noqa: S105 - these tokens are no secret
    generation: Mapping[str, str] = attrs.field(default=_GENERATION_FIELDS, converter=_read_only)
    left_out: Mapping[str, Any] = attrs.field(default=_LEFT_OUT, converter=_read_only)
    model: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only)
    constraint: Callable[[Constraint], dict[str, Any]] = response_format
    reasoning: str | None = None
    merge_turns: bool = False


OPENAI = Dialect()
"""OpenAI's own, and so the least that the others understand."""

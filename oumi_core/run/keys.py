"""The key of a row: a digest of all that is sent for it, and of nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from oumi_core.configs.generation_params import ANSWER_POLICIES
from oumi_core.run.addresses import address_of
from oumi_core.wire.given_body import given_params

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oumi_core.configs import GenerationParams, ModelParams
    from oumi_core.guided.constraint import Constraint
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation, Message

__all__ = ["DIGEST_BYTES", "RowKeys", "sent_of"]

DIGEST_BYTES = 16
"""Bytes of a key: at 128 bits two of a million different rows meet with a chance of 1 in 10**27."""

_encode = msgspec.json.Encoder().encode

_MODEL_LEFT_OUT: Final = frozenset(
    {"torch_dtype_str", "load_pretrained_weights", "enable_liger_kernel", "freeze_layers"}
)
"""The first has several names for one precision; the others are for training."""

_GENERATION_LEFT_OUT: Final = frozenset(
    {"guided_decoding", "batch_size", "use_cache", *ANSWER_POLICIES}
)
"""The constraint counts by itself, as it was understood; the others change no answer."""

_ADDRESS: Final = re.compile(" at 0x[0-9a-fA-F]+")
_LARGEST_EXACT: Final = 2.0**53
"""Up to here a float and the whole number that it is equal to are written alike."""


class RowKeys:
    """Computes the keys of one run's rows.

    Two rows have the same key if the same is sent for both: engine, its arguments, model (with
    adapter, revision and all else that `ModelParams` says), generation parameters, constraint,
    messages with their images and unknown fields, tools, and the adapter and the parameters that
    the row brings. Ids, metadata and the row's other unknown fields are not sent, so they do not
    count; nor do the number of workers, the server's URL or the key to it.

    A field at its default does not count either, so that a field that a later version adds changes
    no key; but the most tokens and the temperature do, which are sent at their defaults too.
    """

    def __init__(self, engine_name: str, plan: Plan) -> None:
        shared = {
            "engine": engine_name,
            "engine_args": _canonical(plan.engine_config.engine_args),
            "model": _canonical(_model(plan.model)),
            "generation": _canonical(_generation(plan.generation)),
            "constraint": _constraint(plan),
        }
        text = json.dumps(shared, sort_keys=True)
        self._shared = hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES)

    def of(self, conversation: Conversation) -> bytes:
        """The key of a row, 16 bytes."""
        digest = self._shared.copy()
        digest.update(sent_of(conversation))
        return digest.digest()


def sent_of(conversation: Conversation) -> bytes:
    """All that is sent of a row itself, as bytes that are equal for equal rows."""
    tools = conversation.tools
    sent: list[list[Any]] = [[_sent(message) for message in conversation.messages]]
    if tools is not None:
        sent.append([_in_order(tool.to_dict()) for tool in tools])
    address = address_of(conversation)
    if address is not None:
        sent.append([{"model": address}])
    params = given_params(conversation) if conversation.extra else None
    if params:
        # Not in order of their names: in a schema models fill in properties as they stand there.
        sent.append([{"body": json.dumps(_canonical(params))}])
    return _encode(sent)


def _sent(message: Message) -> Any:
    plain = isinstance(message.content, str) and message.tool_call_id is None
    if plain and not (message.tool_calls or message.reasoning_content or message.extra):
        return (str(message.role), message.content)  # `.value` runs Python code: 0.1 us more
    fields = message.to_dict()
    fields.pop("id", None)
    return json.dumps(_canonical(fields), sort_keys=True)


def _model(model: ModelParams) -> dict[str, Any]:
    return {**_given(model, _MODEL_LEFT_OUT), "torch_dtype": model.torch_dtype}


def _generation(generation: GenerationParams) -> dict[str, Any]:
    always = {
        "max_new_tokens": generation.max_new_tokens,
        "temperature": generation.temperature,
    }
    return {**_given(generation, _GENERATION_LEFT_OUT), **always}


def _constraint(plan: Plan) -> Any:
    constraint: Constraint | None = plan.constraint
    if constraint is None:
        return None
    params = plan.generation.guided_decoding
    given = _given(constraint, frozenset({"type"}))
    return [constraint.kind, _in_order(given), params.backend if params else None]


def _given(values: attrs.AttrsInstance, left_out: Iterable[str]) -> dict[str, Any]:
    """The fields that differ from their defaults, as they are."""
    given: dict[str, Any] = {}
    for field in attrs.fields(type(values)):
        default = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type] # it is a class
            default = default.factory()
        value = getattr(values, field.name)
        if field.name not in left_out and value != default:
            given[field.name] = value
    return given


def _in_order(value: Any) -> str:
    """A schema as text: models fill in properties in the order in which it names them."""
    return json.dumps(_canonical(value))


def _canonical(value: Any) -> Any:
    """What JSON can hold, the same for equal values, in every process."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(element) for key, element in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(element) for element in value]
    if isinstance(value, set | frozenset):
        return sorted(_repr(element) for element in value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT:
        return int(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return _repr(value)


def _repr(value: Any) -> str:
    """The repr of an object, without the address that it has in this process alone."""
    return _ADDRESS.sub("", repr(value))

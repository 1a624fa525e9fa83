"""The key of a row: a digest of all that is sent for it, and of nothing else."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from oumi_core.configs.generation_params import ANSWER_POLICIES

if TYPE_CHECKING:
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation, Message

__all__ = ["RowKeys"]

_DIGEST = 16
"""Bytes of a key: at 128 bits two of a million different rows meet with a chance of 1 in 10**27."""

_encode = msgspec.json.Encoder(order="deterministic", enc_hook=repr).encode

_NOT_SENT = frozenset({"guided_decoding", *ANSWER_POLICIES})
"""The constraint counts by itself, as it was understood."""


class RowKeys:
    """Computes the keys of one run's rows.

    Two rows have the same key if the same is sent for both: engine, model (with adapter, revision
    and all else that `ModelParams` says), generation parameters, constraint, messages with their
    images, and tools. Ids, metadata and unknown fields are not sent, so they do not count; nor do
    the number of workers, the server's URL or the key to it.
    """

    def __init__(self, engine_name: str, plan: Plan) -> None:
        shared = {
            "engine": engine_name,
            "model": attrs.asdict(plan.model),
            "generation": attrs.asdict(
                plan.generation, filter=lambda field, _: field.name not in _NOT_SENT
            ),
            "constraint": _constraint(plan),
        }
        self._shared = hashlib.blake2b(_encode(shared), digest_size=_DIGEST)

    def of(self, conversation: Conversation) -> bytes:
        """The key of a row, 16 bytes."""
        digest = self._shared.copy()
        tools = conversation.tools
        sent = [[_sent(message) for message in conversation.messages]]
        if tools is not None:
            sent.append([tool.to_dict() for tool in tools])
        digest.update(_encode(sent))
        return digest.digest()


def _sent(message: Message) -> Any:
    if isinstance(message.content, str) and not (
        message.tool_calls or message.tool_call_id or message.reasoning_content
    ):
        return (message.role.value, message.content)
    fields = message.to_dict()
    fields.pop("id", None)
    return fields


def _constraint(plan: Plan) -> Any:
    constraint = plan.constraint
    if constraint is None:
        return None
    params = plan.generation.guided_decoding
    fields = attrs.asdict(constraint, filter=lambda field, _: field.name != "type")
    return [constraint.kind, fields, params.backend if params else None]

"""Proves, before the first row, that a server holds constraints.

A server that does not know `structured_outputs` may take it and ignore it: vLLM before 0.11, and
others that speak the same format. So a canary is sent first, which only one answer fits, and none
that a model would give by itself; then the constraint as it is, to hear whether it is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.completion import FinishReason
from oumi_core.types.failure import FailureKind

if TYPE_CHECKING:
    from oumi_core.types.completion import Completion

    from oumi_remote_vllm.constraints import Canary

__all__ = ["Ask", "prove_live", "prove_taken"]

_TOKENS = 32
"""Enough for the canary, a token a character."""

_TOKENS_WITH_REASONING = 4096
"""A model that reasons does so first, and the server holds only what comes after."""

_INTERNAL_ERROR = 500


class Ask(Protocol):
    """Asks the server something short with these `structured_outputs`."""

    async def __call__(self, fields: dict[str, Any], tokens: int) -> Completion:
        """The answer; raises `EngineError` if there is none."""


async def prove_live(
    ask: Ask, bait: Canary, kind: str, *, where: str, server: str, max_tokens: int
) -> None:
    """Show that the server holds constraints of a kind.

    Args:
        ask: asks the server.
        bait: a constraint that only one answer fits, of this kind.
        kind: what an error calls it.
        where: what an error calls the setting.
        server: what an error calls the server.
        max_tokens: the most tokens that an answer may have.

    Raises:
        ConfigError: it does not.
        EngineError: it does not answer at all.
    """
    completion = await _asked(ask, bait.fields, _TOKENS, where, server)
    if completion.finish_reason is FinishReason.LENGTH and not completion.text.strip():
        most = min(_TOKENS_WITH_REASONING, max_tokens)
        completion = await _asked(ask, bait.fields, most, where, server)
    said = completion.text.strip()
    if said == bait.answer:
        return
    if not said and completion.message.reasoning_content:
        raise ConfigError(
            f"{where}: {server} answers with reasoning alone, and vLLM holds a {kind} only after "
            "it; does the server's --reasoning-parser fit the model? Many models reason less or "
            "not at all with model.chat_template_kwargs: {enable_thinking: false}"
        )
    raise ConfigError(
        f"{where}: {server} does not hold a {kind} in `structured_outputs`: asked for the only "
        "text that fits one, it answered with another. A vLLM server does from version 0.11 on; "
        "for any other choose the engine `remote`, or generation.guided_decoding.backend: reask"
    )


async def prove_taken(
    ask: Ask, fields: dict[str, Any], kind: str, *, where: str, server: str
) -> None:
    """Show that the server takes a constraint as it is.

    Args:
        ask: asks the server.
        fields: the constraint, as `structured_outputs` holds it.
        kind: what an error calls it.
        where: what an error calls the setting.
        server: what an error calls the server.

    Raises:
        ConfigError: it does not; with its reason.
        EngineError: it does not answer at all.
    """
    await _asked(ask, fields, 1, where, f"{server} does not take this {kind}")


async def _asked(
    ask: Ask, fields: dict[str, Any], tokens: int, where: str, refused: str
) -> Completion:
    try:
        return await ask(fields, tokens)
    except EngineError as error:
        failure = error.failure
        # vLLM answers 500 where a backend fails at what it was given.
        if failure.kind is FailureKind.BAD_REQUEST or failure.status == _INTERNAL_ERROR:
            raise ConfigError(f"{where}: {refused}: {failure.message}") from error
        raise

"""The engine `remote`: any server of the format, and every row of a `providers.toml`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs
from oumi_core.wire import OPENAI

from oumi_http.engine import ChatCompletionsEngine

if TYPE_CHECKING:
    from oumi_core.wire import Dialect

__all__ = ["RemoteEngine"]


class RemoteEngine(ChatCompletionsEngine):
    """Any server with the chat-completions API, at `remote_params.api_url`.

    Sends the budget of an answer as `max_tokens`, which all servers understand but those of
    OpenAI's reasoning models; the quirk `max_tokens_field` changes that. A key is sent only if the
    user or the provider's row names one.
    """

    dialect: ClassVar[Dialect] = attrs.evolve(OPENAI, token_limit="max_tokens")  # noqa: S106 - these tokens are no secret

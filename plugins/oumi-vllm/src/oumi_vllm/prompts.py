"""What vLLM's chat template is given: messages, tools, the template and its variables."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.wire import OPENAI, ChatEncoder

if TYPE_CHECKING:
    from oumi_core.configs import ModelParams
    from oumi_core.engine import Request

    from oumi_vllm.images import ImageSources

__all__ = ["Prompts"]

# Many templates insist on turns that take turns; Oumi joins neighbours for vLLM, too.
_DIALECT = attrs.evolve(OPENAI, generation={}, merge_turns=True, constraint=lambda _: {})


class Prompts:
    """Makes what is rendered out of requests."""

    def __init__(self, images: ImageSources) -> None:
        """`images` says which images may be had."""
        self._images = images
        self._encoder = ChatEncoder(_DIALECT)
        self._templates: dict[str, str | None] = {}

    def messages(self, request: Request) -> list[dict[str, Any]]:
        """The messages in the chat-completions format.

        Raises:
            EngineError: an image may not be had; `bad_request`.
        """
        conversation = request.conversation
        if any(message.contains_images() for message in conversation.messages):
            request = attrs.evolve(request, conversation=self._images.resolve(conversation))
        messages: list[dict[str, Any]] = self._encoder.encode(request)["messages"]
        return messages

    def template(self, model: ModelParams, tokenizer: Any) -> str | None:
        """The chat template that a config asks for; None for the model's own. May read a file."""
        name = model.chat_template
        if name in (None, "auto"):
            return None
        if name not in self._templates:
            self._templates[name] = _template(name, tokenizer)
        return self._templates[name]


def template_kwargs(request: Request) -> dict[str, Any]:
    """The variables of the template."""
    kwargs = dict(request.model.chat_template_kwargs or {})
    if request.generation.reasoning_effort is not None:
        kwargs.setdefault("reasoning_effort", request.generation.reasoning_effort)
    return kwargs


def _template(name: str, tokenizer: Any) -> str | None:
    """The template that is the text itself, in that file, or of that name in the tokenizer."""
    if "{{" in name or "{%" in name:
        return name
    path = Path(name).expanduser()
    if path.is_file():
        return path.read_text(encoding="utf-8")
    named = getattr(tokenizer, "chat_template", None)
    if isinstance(named, dict) and name in named:
        template: str = named[name]
        return template
    known = f" (it has: {', '.join(sorted(named))})" if isinstance(named, dict) else ""
    warnings.warn(
        f"model.chat_template: there is no file {name!r}, and the model has no template of that "
        f"name{known}; its own default is used",
        UserWarning,
        stacklevel=2,
    )
    return None

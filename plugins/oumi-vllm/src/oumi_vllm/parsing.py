"""Reads what a model wrote, by vLLM's parsers: reasoning, tool calls, and the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oumi_core.types.completion import Chunk
from oumi_core.types.tool_call import FunctionCall, ToolCall

from oumi_vllm import library

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from oumi_vllm.tools import ToolUse

__all__ = ["Parsers"]


class Parsers:
    """The parsers of one request; some of them keep the state of a stream.

    Attributes:
        keeps_special_tokens: they look for tokens that are left out of the text by default.
    """

    def __init__(
        self,
        tokenizer: Any,
        use: ToolUse,
        reasoning: Callable[..., Any] | None,
        template_kwargs: Mapping[str, Any],
    ) -> None:
        self._request = library.chat_request(use.tools)
        self._parallel = use.parallel
        self._tools: Any = None
        self._reasoning: Any = None
        self.keeps_special_tokens = False
        if use.parser is not None:
            cls = library.tool_parser(use.parser)
            self._tools = library.new_tool_parser(cls, tokenizer, self._request)
            self._adjust(self._tools)
        if reasoning is not None:
            self._reasoning = reasoning(tokenizer, chat_template_kwargs=dict(template_kwargs))
            self._adjust(self._reasoning)

    def _adjust(self, parser: Any) -> None:
        adjust = getattr(parser, "adjust_request", None)  # reasoning parsers have it since 0.19
        if adjust is not None:
            adjusted = adjust(self._request)
            self.keeps_special_tokens |= adjusted.skip_special_tokens is False

    def read(self, text: str) -> tuple[str | None, str, list[ToolCall]]:
        """Reasoning, the answer without it and without markup of calls, and the calls."""
        reasoning: str | None = None
        content: str | None = text
        if self._reasoning is not None:
            reasoning, content = self._reasoning.extract_reasoning(text, self._request)
        if self._tools is None or not content:
            return reasoning or None, content or "", []
        found = self._tools.extract_tool_calls(content, self._request)
        if not found.tools_called:
            return reasoning or None, found.content or content, []
        calls = [
            ToolCall(call.id, FunctionCall(call.function.name, call.function.arguments))
            for call in found.tool_calls
        ]
        kept = calls if self._parallel else calls[:1]
        return reasoning or None, found.content or "", kept

    def piece(
        self, before: str, piece: str, ids_before: Sequence[int], ids: Sequence[int]
    ) -> Chunk:
        """A piece of a stream, told apart; empty while it may belong to a call."""
        if self._tools is not None:
            return Chunk()
        delta = self._reasoning.extract_reasoning_streaming(
            before, before + piece, piece, ids_before, [*ids_before, *ids], ids
        )
        if delta is None:
            return Chunk()
        return Chunk(text=delta.content or "", reasoning=library.reasoning_of(delta))

"""A streamed answer, put together from its chunks."""

from __future__ import annotations

from typing import Any

import msgspec

from oumi_core.errors import DataError, EngineError
from oumi_core.types.completion import Chunk, Completion
from oumi_core.types.reading import decode_json
from oumi_core.wire.decode import decode_completion, malformed
from oumi_core.wire.failures import failure_from_error

__all__ = ["StreamAssembler"]


class StreamAssembler:
    """Takes the chunks of one answer, gives its pieces, and at the end the whole completion."""

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._head: dict[str, Any] = {}
        self._done = False

    def feed_event(self, data: str) -> Chunk | None:
        """Take the data of one server-sent event: a chunk as JSON, or `[DONE]`.

        Raises:
            EngineError: as `feed`.
        """
        text = data.strip()
        if text == "[DONE]":
            self._done = True
            return None
        if not text:
            return None
        try:
            chunk = decode_json(text)
        except DataError as error:
            raise malformed(f"a chunk of the stream is {error}") from error
        return self.feed(chunk)

    @property
    def done(self) -> bool:
        """Whether `[DONE]` has come, after which nothing does."""
        return self._done

    def feed(self, chunk: Any) -> Chunk | None:
        """Take one chunk, decoded; the piece that it adds to the first choice, if any.

        Raises:
            EngineError: the chunk is an error, of the kind that it says; or none, `transient`.
        """
        if not isinstance(chunk, dict):
            raise malformed(f"a chunk of the stream is no object but {type(chunk).__name__}")
        if chunk.get("error"):
            raise EngineError(failure_from_error(None, chunk))
        for name in ("id", "model", "usage"):
            if chunk.get(name):
                self._head[name] = chunk[name]
        piece = None
        choices = chunk.get("choices") or []
        for choice in choices if isinstance(choices, list) else [choices]:
            if not isinstance(choice, dict):
                raise malformed("choices of a chunk: expected objects")
            index = choice.get("index")
            index = index if type(index) is int else 0
            added = self._choices.setdefault(index, _Choice()).feed(choice)
            piece = added if index == 0 else piece
        return piece if piece is not None and (piece.text or piece.reasoning) else None

    def finish(self, *, request_id: str | None = None) -> Completion:
        """The whole answer, once the stream has ended.

        Args:
            request_id: the server's id of the request; by default the id of the answer.

        Raises:
            EngineError: the stream broke off, `transient`: there was neither a finish reason for
                each choice nor `[DONE]`.
        """
        choices = [self._choices[index].to_dict() for index in sorted(self._choices)]
        if not self._done and not (choices and all(one["finish_reason"] for one in choices)):
            raise malformed("the stream broke off before the end of the answer")
        return decode_completion({**self._head, "choices": choices}, request_id=request_id)


class _Choice:
    """One choice, growing."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {"content": [], "reasoning": [], "refusal": []}
        self._calls: list[dict[str, Any]] = []
        self._call_at: dict[Any, int] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._finish_reason: Any = None

    def feed(self, choice: dict[str, Any]) -> Chunk:
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        logprobs = choice.get("logprobs")
        for name, tokens in logprobs.items() if isinstance(logprobs, dict) else ():
            if isinstance(tokens, list):
                self._logprobs.setdefault(name, []).extend(tokens)
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise malformed("delta of a chunk: expected an object")
        text = self._add("content", delta.get("content"))
        reasoning = self._add("reasoning", delta.get("reasoning") or delta.get("reasoning_content"))
        self._add("refusal", delta.get("refusal"))
        calls = delta.get("tool_calls") or []
        for call in calls if isinstance(calls, list) else [calls]:
            self._add_call(call)
        return Chunk(text, reasoning)

    def _add(self, name: str, text: Any) -> str:
        if text is None:
            return ""
        if not isinstance(text, str):
            raise malformed(f"{name} of a chunk: expected a text, got {type(text).__name__}")
        self._texts[name].append(text)
        return text

    def _add_call(self, delta: Any) -> None:
        function = delta.get("function") if isinstance(delta, dict) else None
        if not isinstance(function, dict):
            raise malformed("a tool call of a chunk has no function")
        call = self._call_for(delta, function)
        call["id"] = call["id"] or delta.get("id")
        call["function"]["name"] = call["function"]["name"] or function.get("name")
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        call["function"]["arguments"] += arguments or ""

    def _call_for(self, delta: dict[str, Any], function: dict[str, Any]) -> dict[str, Any]:
        """The call that a delta belongs to: by its index, or the last one if it has none.

        Gemini gives the index 0 to each of several whole calls, so a new id together with a name
        is a new call.
        """
        index = delta.get("index")
        at = self._call_at.get(index) if type(index) is int else len(self._calls) - 1
        known = self._calls[at] if at is not None and at >= 0 else None
        starts = delta.get("id") and function.get("name")
        if known is None or (starts and known["id"] and known["id"] != delta["id"]):
            known = {"id": None, "function": {"name": None, "arguments": ""}}
            if type(index) is int:
                self._call_at[index] = len(self._calls)
            self._calls.append(known)
        return known

    def to_dict(self) -> dict[str, Any]:
        """The choice as it would have come in one piece."""
        message: dict[str, Any] = {
            name: "".join(texts) for name, texts in self._texts.items() if texts
        }
        if self._calls:
            message["tool_calls"] = self._calls
        return {
            "message": message,
            "finish_reason": self._finish_reason,
            "logprobs": self._logprobs or None,
        }

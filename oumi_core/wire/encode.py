"""A request as the body of a chat-completions call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.errors import EngineError
from oumi_core.types.conversation import ContentType, Role
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire.dialect import OPENAI, Dialect
from oumi_core.wire.images import data_url

if TYPE_CHECKING:
    from oumi_core.configs import GenerationParams, ModelParams
    from oumi_core.engine import Request
    from oumi_core.guided.constraint import Constraint
    from oumi_core.types.conversation import ContentItem, Message

__all__ = ["ChatEncoder", "encode_chat"]

# Looking the text up costs a seventh of `role.value`.
_ROLE_TEXT: dict[str, str] = {role: role.value for role in Role}


def encode_chat(
    request: Request, dialect: Dialect = OPENAI, *, stream: bool = False
) -> dict[str, Any]:
    """The body of a chat-completions call for one request.

    Holds what was asked for and nothing else: no nulls, no empty lists, and no field at the
    server's own default. `generation.extra_body` is merged last and wins over every other field.
    For the rows of a run, a `ChatEncoder` does the same faster.

    Args:
        request: what to ask.
        dialect: how the server writes the format; OpenAI's by default.
        stream: ask for the answer in pieces, with token counts at the end.

    Raises:
        EngineError: an image is a path or of unknown type, or the dialect cannot write the
            constraint; `bad_request`.
    """
    return ChatEncoder(dialect).encode(request, stream=stream)


@attrs.frozen
class _Frame:
    """The fields of a body that are the same for all rows with these parameters."""

    model: ModelParams
    generation: GenerationParams
    constraint: Constraint | None
    with_tools: dict[str, Any]
    without_tools: dict[str, Any]

    def fits(self, request: Request) -> bool:
        # By identity: the rows of a run share these objects, and comparing them costs more.
        return (
            request.generation is self.generation
            and request.model is self.model
            and request.constraint is self.constraint
        )


class ChatEncoder:
    """Encodes requests in one dialect, and remembers what neighbouring rows have in common.

    May be used from several threads. Bodies share the values of common fields (schemas, lists of
    stop strings): do not change these in place; adding and replacing whole fields is fine.

    Attributes:
        dialect: how the server writes the format.
    """

    def __init__(self, dialect: Dialect = OPENAI) -> None:
        self.dialect = dialect
        self._frame: _Frame | None = None

    def encode(self, request: Request, *, stream: bool = False) -> dict[str, Any]:
        """The body for one request; see `encode_chat`."""
        frame = self._frame
        if frame is None or not frame.fits(request):
            self._frame = frame = _frame(request, self.dialect)
        conversation = request.conversation
        tools = conversation.tools
        body = (frame.with_tools if tools else frame.without_tools).copy()
        messages = [_message(message, self.dialect) for message in conversation.messages]
        body["messages"] = _merged(messages) if self.dialect.merge_turns else messages
        if tools:
            body["tools"] = [tool.to_dict() for tool in tools]
        if stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        if request.generation.extra_body:
            body.update(request.generation.extra_body)
        return body


def _frame(request: Request, dialect: Dialect) -> _Frame:
    model, generation = request.model, request.generation
    # The empty list keeps the place of the messages: bodies are read by people, from the top.
    fields: dict[str, Any] = {"model": model.model_name, "messages": []}
    fields[dialect.token_limit] = generation.max_new_tokens
    for source, name in dialect.generation.items():
        value = getattr(generation, source)
        if source not in dialect.left_out or value != dialect.left_out[source]:
            _put(fields, name, value)
    for source, name in dialect.model.items():
        _put(fields, name, getattr(model, source))
    if request.constraint is not None:
        fields.update(dialect.constraint(request.constraint))
    has_tools = "tools" in generation.extra_body
    plain = fields if has_tools else {k: v for k, v in fields.items() if not _idle(k, v)}
    return _Frame(model, generation, request.constraint, fields, plain)


def _put(fields: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, Mapping):
        value = {str(key): entry for key, entry in value.items()}
    if value is not None and value not in ({}, []):
        fields[name] = value


def _idle(name: str, value: Any) -> bool:
    """True for a field that asks for nothing where there are no tools; servers refuse it there.

    A choice that demands a call is sent all the same: let the server refuse it, not us drop it.
    """
    return name == "parallel_tool_calls" or (name == "tool_choice" and value in ("auto", "none"))


def _message(message: Message, dialect: Dialect) -> dict[str, Any]:
    content = message.content
    data: dict[str, Any] = {"role": _ROLE_TEXT[message.role]}
    if content is not None:
        data["content"] = content if isinstance(content, str) else [_part(i) for i in content]
    if message.tool_calls:
        data["tool_calls"] = [call.to_dict() for call in message.tool_calls]
    if message.tool_call_id is not None:
        data["tool_call_id"] = message.tool_call_id
    if dialect.reasoning is not None and message.reasoning_content:
        data[dialect.reasoning] = message.reasoning_content
    if "name" in message.extra:
        data["name"] = message.extra["name"]
    return data


def _part(item: ContentItem) -> dict[str, Any]:
    if item.type is ContentType.TEXT:
        return {"type": "text", "text": item.content}
    image: dict[str, Any] = {"url": _image_url(item)}
    if "detail" in item.extra:
        image["detail"] = item.extra["detail"]
    return {"type": "image_url", "image_url": image}


def _image_url(item: ContentItem) -> str:
    if item.binary:
        return data_url(item.binary)
    if item.type is ContentType.IMAGE_PATH or item.content is None:
        raise EngineError(
            Failure(
                FailureKind.BAD_REQUEST,
                "an image that is given by its path must be loaded first (as image_binary); "
                "encoding a request reads no files",
            )
        )
    return item.content


def _merged(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbours of one role.

    Their texts stay parts of their own: nobody said what to put between them.
    """
    merged: list[dict[str, Any]] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last is not None and _is_plain(last) and _is_plain(message, like=last):
            last["content"] = [*_parts(last["content"]), *_parts(message["content"])]
        else:
            merged.append(message)
    return merged


def _is_plain(message: dict[str, Any], like: dict[str, Any] | None = None) -> bool:
    """True for a message that is a role and a content alone, of the same role as `like`."""
    return message.keys() == {"role", "content"} and (
        like is None or message["role"] == like["role"]
    )


def _parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content

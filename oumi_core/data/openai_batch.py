"""OpenAI's batch input files as conversations, and what all their requests ask for alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from oumi_core.errors import DataError
from oumi_core.types.conversation import Conversation
from oumi_core.types.reading import as_mapping, decode_json, shown
from oumi_core.wire.dialect import OPENAI

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["OpenAIBatchFile", "read_openai_batch"]

_ENDPOINT: Final = "/v1/chat/completions"
_MOST_FAULTS: Final = 10
_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_OF_THE_ROW: Final = ("messages", "tools")
_FIELDS: Final = {name: field for field, name in OPENAI.generation.items()}


@attrs.frozen
class OpenAIBatchFile:
    """A batch input file that was checked.

    Attributes:
        path: the file.
        overrides: what all its requests say alike, as overrides of a config: the model, the
            generation parameters, and as `generation.extra_body` what has no name of ours.
    """

    path: Path
    overrides: tuple[tuple[str, Any], ...]

    def rows(self) -> Iterator[Conversation]:
        """Its requests as conversations; each has its `custom_id` as `conversation_id`."""
        with self.path.open("rb") as file:
            for line in file:
                if line.strip():
                    yield _request(decode_json(line))[1]


def read_openai_batch(path: str | os.PathLike[str]) -> OpenAIBatchFile:
    """Check a batch input file, and find out what its requests have in common.

    Raises:
        DataError: lists its faults: what is no request, an id twice, another model or other
            parameters than those of the first request, another endpoint, or no request at all.
    """
    source = Path(path)
    checked = _Checked()
    faults: list[str] = []
    try:
        with source.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    checked.add(number, line)
                except DataError as error:
                    faults += [f"{path}:{number}: {fault}" for fault in error.faults]
                    if len(faults) >= _MOST_FAULTS:
                        break
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if checked.common is None and not faults:
        raise DataError(f"{path}: no requests; it needs one a line")
    if faults:
        raise DataError(*faults)
    return OpenAIBatchFile(source, tuple(_overrides(checked.common or {})))


class _Checked:
    """What the lines so far have shown.

    Attributes:
        common: the fields that all bodies have alike; None before the first.
    """

    def __init__(self) -> None:
        self.common: dict[str, Any] | None = None
        self._ids: dict[str, int] = {}

    def add(self, number: int, line: bytes) -> None:
        custom_id, _, fields = _request(decode_json(line))
        if custom_id in self._ids:
            raise DataError(f"custom_id: {shown(custom_id)} is that of line {self._ids[custom_id]}")
        self._ids[custom_id] = number
        if self.common is None:
            self.common = fields
        for name in sorted({*fields, *self.common}):
            if fields.get(name) != self.common.get(name):
                raise DataError(
                    f"body.{name}: differs from that of the first request; "
                    "all requests of a batch ask alike"
                )


def _request(data: Any) -> tuple[str, Conversation, dict[str, Any]]:
    """The id, the conversation, and the other fields of the body."""
    line = as_mapping(data, "custom_id, method, url and body")
    custom_id = line.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise DataError("custom_id: missing, or no text; each request needs one of its own")
    if line.get("url", _ENDPOINT) != _ENDPOINT:
        raise DataError(f"url: {shown(line['url'])} is not {_ENDPOINT}")
    body = as_mapping(line.get("body"), "model and messages")
    if body.get("stream"):
        raise DataError("body.stream: a batch does not stream; leave it out")
    row: dict[str, Any] = {name: body.pop(name) for name in _OF_THE_ROW if name in body}
    conversation = Conversation.from_dict({**row, "conversation_id": custom_id})
    if not conversation.messages:
        raise DataError("body.messages: empty; a request needs at least one message")
    return custom_id, conversation, body


def _overrides(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    rest = {name: value for name, value in fields.items() if value is not None}
    model = rest.pop("model", None)
    if model is not None:
        yield "model.model_name", model
    for name in _LIMITS:
        if name in rest:
            yield "generation.max_new_tokens", rest.pop(name)
    stop = rest.get("stop")
    if isinstance(stop, str):
        rest["stop"] = [stop]
    for name in [name for name in rest if name in _FIELDS]:
        yield f"generation.{_FIELDS[name]}", rest.pop(name)
    wanted = rest.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        schema = as_mapping(wanted.get("json_schema"), "schema")
        del rest["response_format"]
        yield "generation.guided_decoding.json", schema.get("schema")
        if schema.get("strict"):
            yield "generation.guided_decoding.strict", True
    rest.pop("stream", None)
    if rest:
        yield "generation.extra_body", rest

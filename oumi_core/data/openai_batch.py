"""OpenAI's batch input files: each line a row that brings the body of its own request."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from oumi_core.data.jsonl import numbered_rows
from oumi_core.errors import DataError
from oumi_core.types.reading import as_mapping, decode_json, shown
from oumi_core.wire.given_body import row_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from oumi_core.types.conversation import Conversation

__all__ = ["OpenAIBatchFile", "read_openai_batch"]

_ENDPOINTS: Final = ("/v1/chat/completions", "/chat/completions")
"""OpenAI's, and Azure's name for the same."""
_MOST_FAULTS: Final = 10


@attrs.frozen
class OpenAIBatchFile(Iterable["Conversation"]):
    """A batch input file that was checked: its rows, each with its `custom_id` as its id.

    Attributes:
        path: the file, as it was given.
        place: the same, absolute.
        model: the model that its requests ask for; None if they name none.
    """

    path: Path
    place: Path
    model: str | None

    def __iter__(self) -> Iterator[Conversation]:
        """Its rows; each brings its body."""
        with self.place.open("rb") as file:
            for _, line in numbered_rows(file):
                yield _request(decode_json(line))[0]

    def check(self, can_be: Callable[[Conversation], object]) -> None:
        """Find the rows for which `can_be` raises a `DataError`.

        Raises:
            DataError: there are some; names the first of them by file and line.
        """
        _each_line(self.path, self.place, lambda _, data: can_be(_request(data)[0]))


def read_openai_batch(path: str | os.PathLike[str]) -> OpenAIBatchFile:
    """Check a batch input file.

    Raises:
        DataError: lists its faults: what is no request, an id twice, another model than that of
            the requests before, another endpoint, or no request at all.
    """
    checked = _Checked()
    source = Path(path)
    _each_line(source, source, checked.add)
    if not checked.ids:
        raise DataError(f"{path}: no requests; it needs one a line")
    return OpenAIBatchFile(source, source.absolute(), checked.model)


def _each_line(path: Path, place: Path, look: Callable[[int, Any], object]) -> None:
    faults: list[str] = []
    try:
        with place.open("rb") as file:
            for number, line in numbered_rows(file):
                try:
                    look(number, decode_json(line))
                except DataError as error:
                    faults += [f"{path}:{number}: {fault}" for fault in error.faults]
                    if len(faults) >= _MOST_FAULTS:
                        break
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if faults:
        raise DataError(*faults)


class _Checked:
    """What the lines so far have shown.

    Attributes:
        ids: the line of each id.
        model: the model of those that name one; None before the first.
    """

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.model: str | None = None

    def add(self, number: int, data: Any) -> None:
        row, model = _request(data)
        custom_id = row.conversation_id or ""
        if custom_id in self.ids:
            raise DataError(f"custom_id: {shown(custom_id)} is that of line {self.ids[custom_id]}")
        self.ids[custom_id] = number
        if model is None:
            return
        if self.model not in (None, model):
            raise DataError(
                f"body.model: {shown(model)} is not {shown(self.model)}, which the requests before "
                "ask for; a batch has one model: make a file of each"
            )
        self.model = model


def _request(data: Any) -> tuple[Conversation, str | None]:
    """A line as a row, and the model that it asks for."""
    line = as_mapping(data, "custom_id, method, url and body")
    custom_id = line.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        raise DataError("custom_id: missing, or no text; each request needs one of its own")
    if line.get("url", _ENDPOINTS[0]) not in _ENDPOINTS:
        raise DataError(f"url: {shown(line['url'])} is not {_ENDPOINTS[0]}")
    if line.get("method", "POST") != "POST":
        raise DataError(f"method: {shown(line['method'])} is not POST")
    if not isinstance(line.get("body"), dict):
        raise DataError("body: missing, or no object; it holds the model and the messages")
    body = line["body"]
    if body.get("stream"):
        raise DataError("body.stream: a batch does not stream; leave it out")
    model = body.get("model")
    if not isinstance(model, str | None):
        raise DataError(f"body.model: {shown(model)} is no text")
    try:
        row = row_of(body, custom_id)
    except DataError as error:
        raise DataError(*(f"body.{fault}" for fault in error.faults)) from None
    if not row.messages:
        raise DataError("body.messages: empty; a request needs at least one message")
    return row, model

"""A request as it arrived at a `FaultServer`: one entry of its journal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Received"]

_SECRET = ("authorization", "cookie", "key", "token", "secret")
"""What the name of a header that holds a secret has in it."""


def _masked(headers: Mapping[str, str]) -> str:
    shown = {
        name: "***" if any(part in name for part in _SECRET) else value
        for name, value in headers.items()
    }
    return repr(shown)


def _size(body: bytes) -> str:
    return f"<{len(body)} bytes>"


@attrs.frozen
class Received:
    """What a client sent. Its repr shows neither keys nor prompts.

    Attributes:
        method: `POST`, `GET`, ...
        target: the path and the query, as sent.
        headers: by name in lower case; of a name that came twice, the last value.
        body: the bytes of the body; empty if there was none.
        time: when its last byte had arrived, by `time.monotonic()`, in seconds.
        connection: the number of the connection that it came over, from 1.
    """

    method: str
    target: str
    headers: Mapping[str, str] = attrs.field(repr=_masked)
    body: bytes = attrs.field(repr=_size)
    time: float
    connection: int

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def json(self) -> Any:
        """The body as JSON; None if there is no body.

        Raises:
            ValueError: the body is something else.
        """
        return json.loads(self.body) if self.body else None

    @property
    def wants_stream(self) -> bool:
        """True if the body is JSON and asks for the answer in pieces."""
        return self.field("stream") is True

    @property
    def last_text(self) -> str:
        """The text of the last message; empty if the body has none."""
        messages = self.field("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        content = last.get("content") if isinstance(last, dict) else None
        if isinstance(content, list):
            return "".join(part.get("text") or "" for part in content)
        return content if isinstance(content, str) else ""

    def field(self, name: str) -> Any:
        """A field of the body; None if it is missing, or if the body is no JSON object."""
        try:
            data = self.json
        except ValueError:
            return None
        return data.get(name) if isinstance(data, dict) else None

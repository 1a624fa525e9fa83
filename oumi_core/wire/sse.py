"""Server-sent events: bytes in, the data of whole events out."""

from __future__ import annotations

__all__ = ["SSEParser"]


class SSEParser:
    """Cuts a `text/event-stream` into the data of its events, wherever the bytes were split.

    Follows the WHATWG definition: lines end in CR, LF or CRLF; comments and the fields `event`,
    `id` and `retry` are passed over (chat completions give them no meaning); an event that the
    stream breaks off in the middle of is dropped.
    """

    def __init__(self) -> None:
        self._start = True
        self._after_cr = False
        self._line: list[bytes] = []
        self._data: list[str] = []

    def feed(self, received: bytes) -> list[str]:
        """The data of the events that these bytes complete, oldest first.

        The lines of one event's data are joined by a line feed. `[DONE]` is data like any other.
        """
        if not received:
            return []
        if self._after_cr and received.startswith(b"\n"):
            received = received[1:]
            self._after_cr = False
            if not received:
                return []
        self._after_cr = received.endswith(b"\r")
        if b"\r" in received:
            received = received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *others = received.split(b"\n")
        # Pieces are kept apart until their line ends: a long line costs no more for being split.
        self._line.append(first)
        events: list[str] = []
        for following in others:
            self._end_line(b"".join(self._line), events)
            self._line = [following]
        return events

    def _end_line(self, line: bytes, events: list[str]) -> None:
        if self._start:
            self._start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            if self._data:
                events.append("\n".join(self._data))
                self._data = []
        elif line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            self._data.append(value.decode(errors="replace"))
        elif line == b"data":
            self._data.append("")

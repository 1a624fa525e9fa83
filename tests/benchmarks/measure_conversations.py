"""Reading and writing a conversation of 800 bytes that has fields which nobody here knows."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from harness import Line, interleave, process_cpu

from oumi_core.data.jsonl import conversation_line, parse_conversations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 11
ROWS = 5_000
LINE = json.dumps(
    {
        "conversation_id": "row-000123",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant. " * 5},
            {"role": "user", "content": "Compare the two texts below in a sentence. " * 6},
            {"role": "assistant", "content": "Both say nearly the same thing, at length. " * 4},
        ],
        "metadata": {"source": "web", "split": "train"},
        "quality": 0.75,
        "tags": ["news", "short"],
    },
    separators=(",", ":"),
).encode()


def measure() -> Iterator[Line]:
    """Microseconds of CPU a conversation, against parsers that make plain dicts of it."""
    size = f"{len(LINE)} bytes"
    yield from _lines(f"read a conversation of {size}", _readers(), must=8, beyond=5)
    yield from _lines(f"write a conversation of {size}", _writers(), must=6, beyond=4)


def _lines(
    what: str, sides: dict[str, Callable[[], object]], *, must: float, beyond: float
) -> Iterator[Line]:
    took = interleave(
        {name: partial(_microseconds, work) for name, work in sides.items()},
        ROUNDS,
        "us",
    )
    ours = took.pop("ours")
    for name, theirs in took.items():
        if name.startswith("msgspec"):
            yield Line(what, str(ours), f"{theirs}: {name}", ours, must, beyond)
        else:
            yield Line(f"{what}, for scale", str(ours), f"{theirs}: {name}", ours / theirs)


def _microseconds(work: Callable[[], object]) -> float:
    return process_cpu(work) / ROWS * 1e6


def _readers() -> dict[str, Callable[[], object]]:
    lines = [LINE + b"\n"] * ROWS
    readers: dict[str, Callable[[], object]] = {
        "ours": lambda: _drain(parse_conversations(lines, "benchmark")),
        "msgspec, to dicts": lambda: _drain(map(msgspec.json.Decoder().decode, lines)),
        "json, to dicts": lambda: _drain(map(json.loads, lines)),
    }
    model = _pydantic_model()
    if model is not None:
        readers["pydantic, extra allowed"] = lambda: _drain(map(model.model_validate_json, lines))
    return readers


def _writers() -> dict[str, Callable[[], object]]:
    [conversation] = parse_conversations([LINE], "benchmark")
    data = json.loads(LINE)
    writers: dict[str, Callable[[], object]] = {
        "ours": lambda: _drain(map(conversation_line, [conversation] * ROWS)),
        "msgspec, from dicts": lambda: _drain(map(msgspec.json.Encoder().encode, [data] * ROWS)),
        "json, from dicts": lambda: _drain(map(json.dumps, [data] * ROWS)),
    }
    model = _pydantic_model()
    if model is not None:
        row = model.model_validate_json(LINE)
        writers["pydantic, extra allowed"] = lambda: _drain(
            row.model_dump_json(exclude_none=True) for _ in range(ROWS)
        )
    return writers


def _drain(items: Iterator[object]) -> None:
    for _ in items:
        pass


def _pydantic_model() -> Any:
    """The conversation as people write it with pydantic; None where that is not installed."""
    try:
        import pydantic  # optional: only to compare with
    except ImportError:
        return None

    kept = pydantic.ConfigDict(extra="allow")
    role = Literal["system", "user", "assistant", "tool"]
    message = pydantic.create_model(
        "Message", __config__=kept, role=(role, ...), content=(str | None, None)
    )
    return pydantic.create_model(
        "Conversation",
        __config__=kept,
        messages=(list[message], ...),  # type: ignore[valid-type]  # made a line above
        conversation_id=(str | None, None),
        metadata=(dict[str, Any], {}),
    )

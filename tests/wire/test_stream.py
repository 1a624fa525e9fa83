import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core.errors import EngineError
from oumi_core.types import (
    Chunk,
    Completion,
    FailureKind,
    FinishReason,
    FunctionCall,
    Message,
    Role,
    ToolCall,
    Usage,
)
from oumi_core.wire import SSEParser, StreamAssembler


def chunk(delta: Any = None, finish_reason: str | None = None, **rest: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason, **rest}
    return {"id": "c1", "model": "m", "choices": [choice]}


END = chunk(finish_reason="stop")


def assemble(*chunks: Any) -> tuple[list[Chunk], Completion]:
    assembler = StreamAssembler()
    pieces = [piece for one in chunks if (piece := assembler.feed(one)) is not None]
    return pieces, assembler.finish()


def test_an_answer_in_pieces() -> None:
    pieces, completion = assemble(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning": "hm"}),
        chunk({"content": "Par"}),
        chunk({"content": "is."}),
        END,
        {"id": "c1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    )
    assert pieces == [Chunk(reasoning="hm"), Chunk("Par"), Chunk("is.")]
    assert completion == Completion(
        message=Message(Role.ASSISTANT, "Paris.", reasoning_content="hm"),
        finish_reason=FinishReason.STOP,
        usage=Usage(3, 2),
        model="m",
        request_id="c1",
    )


def call(index: int | None, id_: str | None, name: str | None, arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    delta = {"index": index, "id": id_, "type": "function", "function": function}
    return {"tool_calls": [{key: value for key, value in delta.items() if value is not None}]}


F = ToolCall("a", FunctionCall("f", '{"x": 1}'))
G = ToolCall("b", FunctionCall("g", "{}"))


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        (
            [
                call(0, "a", "f", ""),
                call(0, None, None, '{"x"'),
                call(1, "b", "g", "{}"),
                call(0, None, None, ": 1}"),
            ],
            [F, G],
        ),
        ([call(None, "a", "f", '{"x"'), call(None, None, None, ": 1}")], [F]),
        ([call(0, "a", "f", '{"x": 1}'), call(0, "b", "g", "{}")], [F, G]),
        ([call(0, "a", "f", '{"x"'), call(0, "a", "f", ": 1}")], [F]),
        ([call(0, "b", "g", {})], [G]),
        ([call(0, None, "g", "{}")], [ToolCall("call_0", FunctionCall("g", "{}"))]),
    ],
)
def test_tool_calls_are_put_together(deltas: list[Any], calls: list[ToolCall]) -> None:
    pieces, completion = assemble(
        *(chunk(delta) for delta in deltas), chunk(finish_reason="tool_calls")
    )
    assert pieces == []
    assert completion.message == Message(Role.ASSISTANT, None, tool_calls=calls)
    assert completion.finish_reason is FinishReason.TOOL_CALLS


def test_several_choices_come_mixed_and_end_apart() -> None:
    def of(index: int, text: str) -> dict[str, Any]:
        return {"choices": [{"index": index, "delta": {"content": text}}]}

    ends = {"choices": [{"index": index, "finish_reason": "stop"} for index in (1, 0)]}
    pieces, completion = assemble(of(0, "a"), of(1, "x"), of(0, "b"), of(1, "y"), ends)
    assert pieces == [Chunk("a"), Chunk("b")]
    assert completion.text == "ab"
    assert [message.text for message in completion.alternatives] == ["xy"]


def test_log_probabilities_are_joined() -> None:
    _, completion = assemble(
        chunk({"content": "a"}, logprobs={"content": [{"token": "a"}], "refusal": None}),
        chunk({"content": "b"}, "stop", logprobs={"content": [{"token": "b"}]}),
    )
    assert completion.logprobs == {"content": [{"token": "a"}, {"token": "b"}]}


def test_a_refusal_is_put_together() -> None:
    _, completion = assemble(chunk({"refusal": "I "}), chunk({"refusal": "won't."}), END)
    assert completion.refusal == "I won't."


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk({"content": "Par"})],
        [{"choices": [], "usage": {"prompt_tokens": 3}}],
        [END, {"choices": [{"index": 1, "delta": {"content": "x"}}]}],
    ],
)
def test_a_stream_that_broke_off_is_no_answer(chunks: list[Any]) -> None:
    with pytest.raises(EngineError, match="broke off") as caught:
        assemble(*chunks)
    assert caught.value.failure.kind is FailureKind.TRANSIENT


def test_done_ends_a_stream_without_a_finish_reason() -> None:
    assembler = StreamAssembler()
    for data in ("", json.dumps(chunk({"content": "x"})), " [DONE] "):
        assembler.feed_event(data)
    completion = assembler.finish(request_id="req_1")
    assert completion.text == "x"
    assert completion.finish_reason is FinishReason.UNKNOWN
    assert completion.request_id == "req_1"


def test_done_alone_is_no_answer() -> None:
    assembler = StreamAssembler()
    assembler.feed_event("[DONE]")
    with pytest.raises(EngineError, match="choices"):
        assembler.finish()


def test_an_error_in_the_middle_is_of_the_kind_that_it_says() -> None:
    assembler = StreamAssembler()
    assembler.feed(chunk({"content": "Par"}))
    with pytest.raises(EngineError) as caught:
        assembler.feed_event('{"error": {"message": "busy", "code": 429}}')
    assert caught.value.failure.kind is FailureKind.RATE_LIMIT


@pytest.mark.parametrize(
    "data",
    [
        '{"choices": [{',
        "[" * 9999,
        "7",
        '{"choices": [7]}',
        '{"choices": [{"delta": 7}]}',
        '{"choices": [{"delta": {"content": 7}}]}',
        '{"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}',
    ],
)
def test_a_broken_chunk_may_pass_the_next_time(data: str) -> None:
    with pytest.raises(EngineError, match="malformed answer") as caught:
        StreamAssembler().feed_event(data)
    assert caught.value.failure.kind is FailureKind.TRANSIENT


NAMES = [
    "choices",
    "index",
    "delta",
    "content",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "id",
    "usage",
    "error",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(("a", "b", "stop", "")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=15,
)
DELTAS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4)
CHUNKS = st.lists(JSON | DELTAS.map(lambda delta: chunk(delta, "stop")), max_size=5)


@given(CHUNKS)
def test_any_chunks_make_a_completion_or_an_engine_error(chunks: list[Any]) -> None:
    try:
        _, completion = assemble(*chunks)
    except EngineError:
        return
    json.dumps(completion.message.to_dict())


TEXTS = st.text(min_size=1, max_size=20)


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_the_pieces_join_to_the_text(texts: list[str]) -> None:
    pieces, completion = assemble(*(chunk({"content": text}) for text in texts), END)
    assert "".join(piece.text for piece in pieces) == completion.text == "".join(texts)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", ["a"]),
        (b"data:a\n\n", ["a"]),
        (b"data:  a\n\n", [" a"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\r", ["a", "b"]),
        (b"data: a\ndata: b\n\n", ["a\nb"]),
        (b"data: a\ndata\n\n", ["a\n"]),
        (b": ping\n\ndata: a\n\n", ["a"]),
        (b"event: x\nid: 1\nretry: 5\ndata: a\n\n", ["a"]),
        (b"event: x\n\ndata: a\n\n", ["a"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        ("data: é€😀\n\n".encode(), ["é€😀"]),
        (b"data: a\n\ndata: [DONE]\n\n", ["a", "[DONE]"]),
        (b"data: a\n\ndata: cut", ["a"]),
        (b"data: a\n\ndata: cut\n", ["a"]),
        (b"database: a\n\n", []),
        (b"data: \xff\n\n", ["\ufffd"]),
        (b"", []),
    ],
)
def test_events_are_the_same_wherever_the_bytes_are_split(stream: bytes, events: list[str]) -> None:
    assert SSEParser().feed(stream) == events
    parser = SSEParser()
    assert [event for byte in stream for event in parser.feed(bytes([byte]))] == events


def test_a_line_end_of_two_bytes_may_be_split_between_reads() -> None:
    parser = SSEParser()
    reads = [b"data: a\r", b"\n\r", b"\ndata: b\r", b"", b"\n\r\n"]
    assert [parser.feed(read) for read in reads] == [[], ["a"], [], [], ["b"]]


LINES = st.sampled_from(
    [
        b"data: a",
        b"data: b ",
        b"data",
        b"data:",
        b": c",
        b"event: x",
        b"id",
        b"",
        b"",
        "data: é".encode(),
    ]
)
STREAMS = st.lists(
    st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])).map(b"".join), max_size=12
).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 120), max_size=8))
def test_any_split_of_the_bytes_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    parser, events, start = SSEParser(), [], 0
    for end in [*sorted(cuts), len(stream)]:
        events += parser.feed(stream[start:end])
        start = max(start, end)
    assert events == SSEParser().feed(stream)

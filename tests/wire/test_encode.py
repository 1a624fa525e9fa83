import base64
import json
from typing import Any

import attrs
import pytest

from oumi_core.configs import GenerationParams, ModelParams
from oumi_core.engine import Request
from oumi_core.errors import EngineError
from oumi_core.guided.constraint import Choice, Constraint, Grammar, JsonSchema, Regex
from oumi_core.types import (
    ContentItem,
    ContentType,
    Conversation,
    FailureKind,
    FunctionCall,
    FunctionDefinition,
    Message,
    Role,
    ToolCall,
    ToolDefinition,
)
from oumi_core.wire import OPENAI, ChatEncoder, Dialect, encode_chat

HI = Message(Role.USER, "hi")
TOOL = ToolDefinition(FunctionDefinition("f", parameters={"type": "object"}))
PNG = b"\x89PNG\r\n\x1a\n rest"


def request(
    *messages: Message,
    tools: list[ToolDefinition] | None = None,
    constraint: Constraint | None = None,
    model: ModelParams | None = None,
    **generation: Any,
) -> Request:
    return Request(
        Conversation(list(messages) or [HI], tools=tools),
        model or ModelParams(model_name="m"),
        GenerationParams(**generation),
        constraint,
    )


def sent(*messages: Message, dialect: Dialect = OPENAI) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = encode_chat(request(*messages), dialect)["messages"]
    return result


def test_the_defaults_send_only_what_they_mean() -> None:
    body = encode_chat(request())
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_completion_tokens": 1024,
        "temperature": 0.0,
    }


def test_the_order_of_fields_is_fixed() -> None:
    body = encode_chat(request(tools=[TOOL], seed=1, top_p=0.5, extra_body={"x": 1}), stream=True)
    assert list(body) == [
        "model",
        "messages",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "seed",
        "tools",
        "stream",
        "stream_options",
        "x",
    ]


@pytest.mark.parametrize(
    ("generation", "fields"),
    [
        ({"max_new_tokens": 7}, {"max_completion_tokens": 7}),
        ({"temperature": 0.7}, {"temperature": 0.7}),
        ({"top_p": 0.9}, {"top_p": 0.9}),
        ({"seed": 0}, {"seed": 0}),
        ({"frequency_penalty": 0.5}, {"frequency_penalty": 0.5}),
        ({"presence_penalty": -0.5}, {"presence_penalty": -0.5}),
        ({"stop_strings": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"stop_strings": []}, {}),
        ({"logit_bias": {7: 1.5}}, {"logit_bias": {"7": 1.5}}),
        ({"logit_bias": {}}, {}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ({"logprobs": True}, {"logprobs": True}),
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"top_logprobs": 0}, {}),
        ({"extra_body": {"user": "u"}}, {"user": "u"}),
        ({"temperature": 1.0, "extra_body": {"temperature": 0.1}}, {"temperature": 0.1}),
        # What OpenAI does not know is not sent; core reports it by the engine's capabilities.
        ({"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2, "stop_token_ids": [3]}, {}),
        ({"use_sampling": True, "batch_size": 4, "skip_special_tokens": False}, {}),
    ],
)
def test_generation_params_are_sent_where_they_ask_for_something(
    generation: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert encode_chat(request(**generation)) == {**encode_chat(request()), **fields}


VLLM = attrs.evolve(
    OPENAI,
    token_limit="max_tokens",  # noqa: S106 - the name of a field
    generation={
        **OPENAI.generation,
        "top_k": "top_k",
        "min_p": "min_p",
        "repetition_penalty": "repetition_penalty",
        "stop_token_ids": "stop_token_ids",
        "skip_special_tokens": "skip_special_tokens",
    },
    model={"chat_template_kwargs": "chat_template_kwargs"},
    constraint=lambda constraint: {"structured_outputs": {constraint.kind: True}},
)


@pytest.mark.parametrize(
    ("generation", "fields"),
    [
        ({"max_new_tokens": 7}, {"max_tokens": 7}),
        ({"top_k": 5, "min_p": 0.1}, {"top_k": 5, "min_p": 0.1}),
        ({"repetition_penalty": 1.2}, {"repetition_penalty": 1.2}),
        ({"repetition_penalty": 1.0}, {}),
        ({"stop_token_ids": [3]}, {"stop_token_ids": [3]}),
        ({"skip_special_tokens": False}, {"skip_special_tokens": False}),
    ],
)
def test_a_dialect_adds_and_renames_fields(
    generation: dict[str, Any], fields: dict[str, Any]
) -> None:
    body = encode_chat(request(**generation), VLLM)
    assert body == {**encode_chat(request(), VLLM), **fields}
    assert "max_completion_tokens" not in body


def test_a_dialect_says_which_values_are_its_servers_defaults() -> None:
    dialect = attrs.evolve(
        OPENAI, generation={"min_p": "min_p", "repetition_penalty": "repeat_penalty"}, left_out={}
    )
    body = encode_chat(request(repetition_penalty=1.0), dialect)
    assert body["min_p"] == 0.0
    assert body["repeat_penalty"] == 1.0
    assert "temperature" not in body


def test_a_dialect_sends_fields_of_the_model() -> None:
    model = ModelParams(model_name="m", chat_template_kwargs={"enable_thinking": False})
    assert encode_chat(request(model=model), VLLM)["chat_template_kwargs"] == {
        "enable_thinking": False
    }
    assert "chat_template_kwargs" not in encode_chat(request(model=model))
    assert "chat_template_kwargs" not in encode_chat(request(), VLLM)


SCHEMA = {"type": "object"}


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        (JsonSchema(SCHEMA), {"name": "Response", "schema": SCHEMA}),
        (
            JsonSchema(SCHEMA, "Product", strict=True),
            {"name": "Product", "schema": SCHEMA, "strict": True},
        ),
    ],
)
def test_a_json_schema_becomes_a_response_format(
    constraint: Constraint, fields: dict[str, Any]
) -> None:
    body = encode_chat(request(constraint=constraint))
    assert body["response_format"] == {"type": "json_schema", "json_schema": fields}


@pytest.mark.parametrize("constraint", [Regex("a"), Choice(("a",)), Grammar('root ::= "a"')])
def test_a_constraint_that_the_dialect_cannot_write_is_refused(constraint: Constraint) -> None:
    with pytest.raises(EngineError, match=f"not a {constraint.kind}") as caught:
        encode_chat(request(constraint=constraint))
    assert caught.value.failure.kind is FailureKind.BAD_REQUEST


def test_a_dialect_writes_constraints_its_own_way() -> None:
    body = encode_chat(request(constraint=Regex("a")), VLLM)
    assert body["structured_outputs"] == {"regex": True}


@pytest.mark.parametrize(
    ("start", "mime_type"),
    [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"BM\x46\x00", "image/bmp"),
        (b"II*\x00", "image/tiff"),
        (b"MM\x00*", "image/tiff"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"\x00\x00\x00\x20ftypheic", "image/heic"),
    ],
)
def test_an_image_is_labelled_by_its_bytes(start: bytes, mime_type: str) -> None:
    data = start + b"more"
    (message,) = sent(Message(Role.USER, [ContentItem(ContentType.IMAGE_BINARY, binary=data)]))
    url = f"data:{mime_type};base64,{base64.b64encode(data).decode()}"
    assert message["content"] == [{"type": "image_url", "image_url": {"url": url}}]


@pytest.mark.parametrize("data", [b"hello", b"RIFF\x24\x00\x00\x00WAVEfmt ", b"%PDF-1.7"])
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    item = ContentItem(ContentType.IMAGE_BINARY, binary=data)
    with pytest.raises(EngineError, match="no known type") as caught:
        sent(Message(Role.USER, [item]))
    assert caught.value.failure.kind is FailureKind.BAD_REQUEST


def test_an_image_by_path_is_refused_because_encoding_reads_no_files() -> None:
    item = ContentItem(ContentType.IMAGE_PATH, "/a.png")
    with pytest.raises(EngineError, match="must be loaded first") as caught:
        sent(Message(Role.USER, [item]))
    assert caught.value.failure.kind is FailureKind.BAD_REQUEST


CALL = ToolCall("c1", FunctionCall("f", '{"a": 1}'))
WIRE_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


@pytest.mark.parametrize(
    ("message", "data"),
    [
        (Message(Role.SYSTEM, "s"), {"role": "system", "content": "s"}),
        (Message(Role.USER, ""), {"role": "user", "content": ""}),
        (
            Message(
                Role.USER,
                [
                    ContentItem(ContentType.TEXT, "see"),
                    ContentItem(ContentType.IMAGE_URL, "http://x/a", extra={"detail": "low"}),
                ],
            ),
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": "http://x/a", "detail": "low"}},
                ],
            },
        ),
        (
            Message(Role.ASSISTANT, tool_calls=[CALL], reasoning_content="hm"),
            {"role": "assistant", "tool_calls": [WIRE_CALL]},
        ),
        (
            Message(Role.ASSISTANT, "text", tool_calls=[CALL]),
            {"role": "assistant", "content": "text", "tool_calls": [WIRE_CALL]},
        ),
        (
            Message(Role.TOOL, "42", tool_call_id="c1"),
            {"role": "tool", "content": "42", "tool_call_id": "c1"},
        ),
        (
            Message(Role.USER, "hi", id="m1", extra={"name": "Ann", "weight": 1}),
            {"role": "user", "content": "hi", "name": "Ann"},
        ),
    ],
)
def test_messages(message: Message, data: dict[str, Any]) -> None:
    assert sent(message) == [data]


def test_reasoning_goes_back_where_the_dialect_has_a_field_for_it() -> None:
    dialect = attrs.evolve(OPENAI, reasoning="reasoning_content")
    turns = [Message(Role.ASSISTANT, "a", reasoning_content="hm"), Message(Role.ASSISTANT, "b")]
    assert sent(*turns, dialect=dialect) == [
        {"role": "assistant", "content": "a", "reasoning_content": "hm"},
        {"role": "assistant", "content": "b"},
    ]


def test_neighbouring_turns_of_one_role_are_merged_where_the_dialect_asks_for_it() -> None:
    turns = [
        Message(Role.USER, "a"),
        Message(Role.USER, [ContentItem(ContentType.TEXT, "b")]),
        Message(Role.USER, "c"),
        Message(Role.ASSISTANT, tool_calls=[CALL]),
        Message(Role.TOOL, "1", tool_call_id="c1"),
        Message(Role.TOOL, "2", tool_call_id="c2"),
        Message(Role.USER, "d"),
    ]
    assert sent(*turns) == [encode_chat(request(turn))["messages"][0] for turn in turns]
    merged = sent(*turns, dialect=attrs.evolve(OPENAI, merge_turns=True))
    assert merged == [
        {"role": "user", "content": [{"type": "text", "text": text} for text in "abc"]},
        {"role": "assistant", "tool_calls": [WIRE_CALL]},
        {"role": "tool", "content": "1", "tool_call_id": "c1"},
        {"role": "tool", "content": "2", "tool_call_id": "c2"},
        {"role": "user", "content": "d"},
    ]


NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("generation", "with_tools", "without_tools"),
    [
        ({}, {}, {}),
        ({"parallel_tool_calls": True}, {}, {}),
        ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}, {}),
        ({"tool_choice": "auto"}, {"tool_choice": "auto"}, {}),
        ({"tool_choice": "none"}, {"tool_choice": "none"}, {}),
        # A demand that cannot be met is for the server to refuse, not for us to drop.
        ({"tool_choice": "required"}, {"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": NAMED}, {"tool_choice": NAMED}, {"tool_choice": NAMED}),
    ],
)
def test_tools(
    generation: dict[str, Any], with_tools: dict[str, Any], without_tools: dict[str, Any]
) -> None:
    bare = encode_chat(request())
    tools = {"tools": [TOOL.to_dict()]}
    assert encode_chat(request(**generation)) == bare | without_tools
    assert encode_chat(request(tools=[TOOL], **generation)) == bare | tools | with_tools


def test_tools_in_extra_body_keep_the_fields_that_steer_them() -> None:
    body = encode_chat(request(tool_choice="auto", extra_body={"tools": [{"type": "search"}]}))
    assert body["tool_choice"] == "auto"
    assert body["tools"] == [{"type": "search"}]


def test_a_stream_asks_for_its_token_counts() -> None:
    body = encode_chat(request(), stream=True)
    assert body == encode_chat(request()) | {
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_an_encoder_follows_rows_that_change_their_parameters() -> None:
    encoder = ChatEncoder(VLLM)
    rows = [
        request(temperature=0.1),
        request(temperature=0.2, constraint=Regex("a")),
        request(tools=[TOOL], tool_choice="auto"),
        request(model=ModelParams(model_name="other"), extra_body={"x": 1}),
    ]
    for row in [*rows, *rows]:
        assert encoder.encode(row) == encode_chat(row, VLLM)
        assert encoder.encode(row, stream=True) == encode_chat(row, VLLM, stream=True)


def test_the_rows_of_a_run_get_bodies_of_their_own() -> None:
    encoder, first = ChatEncoder(), request(seed=1)
    second = attrs.evolve(first, conversation=Conversation([Message(Role.USER, "two")]))
    body = encoder.encode(first)
    body["messages"].append("changed")
    body["user"] = "changed"
    assert encoder.encode(second) == encode_chat(second)
    assert encoder.encode(first) == encode_chat(first)


def test_a_body_is_plain_json_data() -> None:
    row = request(
        Message(Role.USER, [ContentItem(ContentType.IMAGE_BINARY, binary=PNG)]),
        Message(Role.ASSISTANT, tool_calls=[CALL]),
        tools=[TOOL],
        constraint=JsonSchema(SCHEMA),
        logit_bias={7: 1.0},
    )
    body = encode_chat(row, stream=True)
    assert json.loads(json.dumps(body)) == body
    assert type(body["messages"][0]["role"]) is str


def test_encoding_changes_nothing_of_the_callers() -> None:
    row = request(
        HI, HI, tools=[TOOL], extra_body={"x": {"y": 1}}, stop_strings=["a"], tool_choice=NAMED
    )
    before = row.conversation.to_json(), repr(row.generation)
    encode_chat(row, attrs.evolve(OPENAI, merge_turns=True))
    assert (row.conversation.to_json(), repr(row.generation)) == before

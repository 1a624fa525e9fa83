"""Answers of vLLM itself, with the tiny model on the CPU."""

from __future__ import annotations

import json
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from asking import ADAPTERS, FRANCE, PARIS, STYLES, TINY, WEATHER, conversation
from loaded import MODEL
from oumi_core.configs import GuidedDecodingParams
from oumi_core.errors import ConfigError
from oumi_core.types import Conversation, FailureKind, FinishReason

if TYPE_CHECKING:
    from loaded import Asks
    from oumi_core.inference import InferenceEngine
    from oumi_core.types import Result

pytestmark = [
    pytest.mark.slow,  # the load alone takes most of a minute
    pytest.mark.filterwarnings("default"),  # torch and its kin warn of themselves
]

CAPITALS = ["France", "Japan", "Italy", "Spain", "Egypt", "Peru", "Norway", "Kenya"]
KINDS: dict[str, dict[str, Any]] = {
    "json": {
        "json": {
            "type": "object",
            "properties": {
                "answer": {"type": "string", "maxLength": 20},
                "sure": {"type": "boolean"},
            },
            "required": ["answer", "sure"],
            "additionalProperties": False,
        }
    },
    "regex": {"regex": "[0-9]{3}-[0-9]{4}"},
    "choice": {"choice": ["Paris", "Rome", "São Paulo"]},
    "grammar": {"grammar": 'root ::= "the " ("big" | "small") " " [a-z]{3,5}'},
}


def text(result: Result) -> str:
    assert result.error is None, result.error
    return result.conversation[-1].text


def test_a_chat_is_answered(asks: Asks) -> None:
    (result,) = asks(conversation())

    assert text(result) == PARIS
    assert result.finish_reason is FinishReason.STOP
    assert result.usage is not None
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (15, 8)
    assert result.completion is not None
    assert result.completion.model == TINY


def test_many_rows_are_answered_each_with_its_own(asks: Asks) -> None:
    sums = [(a, b) for a in range(13) for b in range(13)] * 2

    results = asks(*(conversation(f"What is {a}+{b}?") for a, b in sums))

    assert [text(result) for result in results] == [
        f"The sum of {a} and {b} is {a + b}." for a, b in sums
    ]


def test_a_stream_gives_pieces_as_they_come(asks: Asks) -> None:
    stream = asks.engine.stream(conversation(), asks.config())

    pieces = list(stream)

    assert len(pieces) > 5
    assert "".join(pieces) == PARIS
    assert stream.completion is not None
    assert stream.completion.text == PARIS
    assert stream.completion.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("kind", KINDS)
def test_200_of_200_answers_fit_their_constraint(asks: Asks, kind: str) -> None:
    asked = [f"What is the capital of {name}? ({at})" for at in range(25) for name in CAPITALS]
    rows = list(map(conversation, asked))
    guided = GuidedDecodingParams(**KINDS[kind])

    results = asks(*rows, guided_decoding=guided, temperature=0.7, seed=1)

    assert len(results) == 200
    assert [result.error for result in results if not result.ok] == []
    assert all(result.checked for result in results)
    assert {result.conversation.metadata["guided_backend"] for result in results} == {"xgrammar"}


def test_json_has_no_blanks(asks: Asks) -> None:
    guided = GuidedDecodingParams(
        json={"type": "array", "items": {"type": "integer"}, "maxItems": 4}
    )

    (result,) = asks(conversation("Count from one to twenty."), guided_decoding=guided)

    assert " " not in text(result)
    assert "\n" not in text(result)


@pytest.mark.parametrize(
    ("guided", "said"),
    [
        ({"json": {"type": "array", "uniqueItems": True}}, "not supported by xgrammar"),
        ({"json": {"not": {"type": "string"}}}, "vLLM would ignore 'not' at /"),
        ({"regex": "(?=a)b"}, "Lookahead is not supported"),
        ({"regex": r"(a)\1"}, "Backreference is not supported"),
    ],
)
def test_what_cannot_be_held_is_refused_before_the_first_row(
    asks: Asks, guided: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        asks(conversation(), guided_decoding=GuidedDecodingParams(**guided))

    assert said in str(caught.value)
    assert "generation.guided_decoding." in str(caught.value)


def test_both_adapters_answer_in_one_run_with_rows_mixed(asks: Asks) -> None:
    styles = ["pirate", "shout", None]
    addresses = {style: f"@{ADAPTERS[style]}" for style in ADAPTERS}
    rows = [
        conversation(extra={"model": addresses[style]} if style else {}) for style in styles * 30
    ]

    results = asks(*rows)

    expected = [PARIS if style is None else STYLES[style] for style in styles] * 30
    assert [text(result) for result in results] == expected
    assert results[0].completion is not None
    assert results[0].completion.model == f"{TINY}@{ADAPTERS['pirate']}"


@pytest.mark.parametrize("style", STYLES)
def test_a_call_chooses_its_adapter(asks: Asks, style: str) -> None:
    model = attrs.evolve(MODEL, adapter_model=ADAPTERS[style])

    (result,) = asks(conversation(), model=model)

    assert text(result) == STYLES[style]


def test_an_adapter_that_there_is_not_stops_the_run(asks: Asks, tmp_path: Any) -> None:
    model = attrs.evolve(MODEL, adapter_model=str(tmp_path))

    (result,) = asks(conversation(), model=model)

    assert result.error is not None
    assert result.error.kind is FailureKind.NOT_FOUND
    assert "is no LoRA adapter" in result.error.message


def test_a_demanded_tool_is_called(asks: Asks) -> None:
    by_name = {"type": "function", "function": {"name": "get_weather"}}
    for choice in ("required", by_name):
        (result,) = asks(conversation(tools=[WEATHER]), tool_choice=choice)

        assert result.error is None
        assert result.finish_reason is FinishReason.TOOL_CALLS
        calls = result.conversation[-1].tool_calls
        assert calls is not None
        assert calls[0].function.name == "get_weather"
        assert set(calls[0].get_arguments_dict()) == {"city"}


def test_a_call_in_free_text_is_found_by_the_parser_of_the_model(asks: Asks) -> None:
    # The tiny model writes no call by itself; the constraint makes it, the parser finds it.
    call = r'\{"name": "get_weather", "arguments": \{"city": "[A-Z][a-z]{3,9}"\}\}'
    call = f"<tool_call>\n{call}\n</tool_call>"
    model = attrs.evolve(MODEL, tool_call_parser="hermes")

    (result,) = asks(
        conversation(tools=[WEATHER]), model=model, guided_decoding=GuidedDecodingParams(regex=call)
    )

    assert result.error is None, result.error
    calls = result.conversation[-1].tool_calls
    assert calls is not None
    assert calls[0].function.name == "get_weather"
    assert result.finish_reason is FinishReason.TOOL_CALLS


def test_an_unknown_parser_is_named_with_those_that_there_are(asks: Asks) -> None:
    model = attrs.evolve(MODEL, tool_call_parser="hermez")

    (result,) = asks(conversation(tools=[WEATHER]), model=model)

    assert result.error is not None
    assert "no parser 'hermez'" in result.error.message


def test_a_prompt_that_is_too_long_fails_its_row_alone(asks: Asks) -> None:
    long, short = asks(conversation("long " * 3000), conversation())

    assert long.error is not None
    assert long.error.kind is FailureKind.BAD_REQUEST
    assert "1024" in long.error.message
    assert "long long" not in long.error.message
    assert text(short) == PARIS


def test_an_image_fails_its_row_on_a_model_that_sees_none(asks: Asks) -> None:
    image = (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhg"
        "GAWjR9awAAAABJRU5ErkJggg=="
    )
    url = f"data:image/png;base64,{image}"
    parts = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]

    (result,) = asks(Conversation([{"role": "user", "content": parts}]))  # type: ignore[list-item]  # dicts are read

    assert result.error is not None
    assert result.error.kind is FailureKind.BAD_REQUEST


def test_a_seed_repeats_an_answer(asks: Asks) -> None:
    def color(seed: int) -> str:
        return text(asks(conversation("Pick a color."), temperature=1.0, seed=seed)[0])

    colors = [color(seed) for seed in range(8)]

    assert colors == [color(seed) for seed in range(8)]
    assert len(set(colors)) > 1


def test_seeds_repeat_answers_to_long_prompts_in_any_company(asks: Asks) -> None:
    # More than vLLM reads in a step: some prompts are read in parts, and others the next time.
    asked = [f"{at}. {'a ' * (at * 37 % 900)}Pick a color." for at in range(96)]
    rows = list(map(conversation, asked))

    forwards, backwards = (
        list(map(text, asks(*some, temperature=1.0, seed=7))) for some in (rows, rows[::-1])
    )

    assert forwards == backwards[::-1]
    assert len(set(forwards)) > 10


def test_log_probabilities_come_in_the_format_of_chat_completions(asks: Asks) -> None:
    (result,) = asks(conversation(), logprobs=True, top_logprobs=3)

    assert result.completion is not None
    assert result.completion.logprobs is not None
    tokens = result.completion.logprobs["content"]
    assert "".join(token["token"] for token in tokens).startswith(PARIS)
    assert all(len(token["top_logprobs"]) == 3 for token in tokens)
    assert all(token["logprob"] <= 0 for token in tokens)
    assert bytes(tokens[0]["bytes"]).decode() == tokens[0]["token"]


def test_stops_penalties_and_samplers_are_taken(asks: Asks) -> None:
    (result,) = asks(conversation(), stop_strings=[" France"])
    assert text(result) == "The capital of"
    (result,) = asks(conversation(), max_new_tokens=3)
    assert result.finish_reason is FinishReason.LENGTH
    (result,) = asks(
        conversation(), skip_special_tokens=False, extra_body={"include_stop_str_in_output": True}
    )
    assert text(result).startswith(PARIS)
    (result,) = asks(
        conversation(),
        temperature=0.5,
        min_p=0.9,
        top_k=2,
        top_p=0.9,
        repetition_penalty=1.01,
        seed=1,
    )
    assert text(result) == PARIS
    (result,) = asks(conversation(), temperature=1.5, top_k=1)
    assert text(result) == PARIS
    first = asks(conversation(), logprobs=True, max_new_tokens=1)[0].completion
    assert first is not None
    (result,) = asks(conversation(), extra_body={"min_tokens": 30}, max_new_tokens=30)
    assert result.usage is not None
    assert result.usage.completion_tokens == 30


def test_a_bias_forbids_a_token(asks: Asks) -> None:
    (result,) = asks(conversation(), logit_bias=dict.fromkeys(range(200, 1000), -100))

    assert result.error is not None or text(result) != PARIS


def test_an_unknown_parameter_is_named_with_the_nearest(asks: Asks) -> None:
    (result,) = asks(conversation(), extra_body={"min_token": 3})

    assert result.error is not None
    assert "did you mean min_tokens?" in result.error.message


def test_a_template_and_its_variables_are_used(asks: Asks) -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ swapped or m.content }}<|im_end|>\n"
        "{% endfor %}{{ '<|im_start|>assistant\n' }}"
    )
    model = attrs.evolve(
        MODEL, chat_template=template, chat_template_kwargs={"swapped": "What is 2+2?"}
    )

    (result,) = asks(conversation(), model=model)

    assert text(result) == "The sum of 2 and 2 is 4."


def test_what_is_given_up_is_ended(asks: Asks, engine: InferenceEngine) -> None:
    endless = asks.config(max_new_tokens=900, extra_body={"ignore_eos": True})
    stream = engine.stream(conversation("Tell me a story."), endless)
    next(stream)
    stream.close()
    run = engine.run([conversation(f"Story {at}") for at in range(300)], inference_config=endless)
    begun = time.monotonic()
    threading.Timer(1.0, run.stop).start()

    assert text(asks(conversation())[0]) == PARIS  # it is not held up by what was given up
    assert begun > 0
    del run


def test_other_arguments_are_explained_before_anything_is_loaded(engine: InferenceEngine) -> None:
    config = attrs.evolve(engine.config, engine_args={"enforce_eagre": True})

    with pytest.raises(ConfigError, match=r"did you mean enforce_eager\?"):
        engine.infer([conversation(FRANCE)], config)


def test_the_answers_of_a_schema_are_parsed(asks: Asks) -> None:
    guided = GuidedDecodingParams(**KINDS["json"])

    (result,) = asks(
        conversation("Answer as JSON: What is the capital of France?"), guided_decoding=guided
    )

    assert result.parsed == json.loads(text(result))
    assert result.parsed["answer"] == "Paris"
    assert math.isfinite(result.latency)

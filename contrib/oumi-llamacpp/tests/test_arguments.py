from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asking import PARIS, new_engine, request, with_engine
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types import FailureKind

if TYPE_CHECKING:
    from oumi_llamacpp.engine import LlamaCppEngine

OUMI: dict[str, Any] = {
    "n_ctx": 512,
    "n_gpu_layers": -1,
    "n_threads": 2,
    "n_batch": 256,
    "flash_attn": True,
    "use_mmap": True,
    "use_mlock": False,
    "verbose": False,
}


async def answer(engine: LlamaCppEngine) -> str:
    return (await engine.complete(request())).text


def test_oumis_arguments_and_llama_cpps_own_are_taken() -> None:
    own = {
        "n_parallel": 3,
        "cache_type_k": "q8_0",
        "cache_type_v": "GGML_TYPE_Q8_0",
        "rope_freq_base": 10000,
        "cpuparams": {"poll": 0},
        "warmup": False,
    }
    engine = new_engine(model_kwargs=OUMI, engine_args=own)

    assert engine.num_workers == 3
    assert with_engine(engine, answer) == PARIS


def test_making_an_engine_loads_nothing() -> None:
    assert new_engine("no/such-model").num_workers == 8


@pytest.mark.parametrize(
    ("kwargs", "engine_args", "fault"),
    [
        ({"n_ctxx": 1}, {}, "model.model_kwargs.n_ctxx: unknown; did you mean n_ctx?"),
        ({"n_ctx": "big"}, {}, "model.model_kwargs.n_ctx: expected a whole number, got 'big'"),
        ({"n_ctx": 0}, {}, "model.model_kwargs.n_ctx: must be at least 1, is 0"),
        ({"use_mmap": 1}, {}, "model.model_kwargs.use_mmap: expected true or false, got 1"),
        ({"n_gpu_layers": 2**40}, {}, "model.model_kwargs.n_gpu_layers: "),
        ({}, {"n_paralel": 2}, "engine_args.n_paralel: llama.cpp has no such parameter; did you"),
        ({}, {"n_parallel": 0}, "engine_args.n_parallel: must be at least 1, is 0"),
        ({}, {"n_parallel": True}, "engine_args.n_parallel: expected a whole number, got True"),
        ({}, {"n_batch": 2**40}, "engine_args.n_batch: value too large"),
        ({}, {"warmup": "no"}, "engine_args.warmup: expected true or false, got 'no'"),
        ({}, {"cache_type_k": "q9"}, "engine_args.cache_type_k: 'q9' is not one of "),
        ({}, {"cpuparams": {"n_thread": 1}}, "engine_args.cpuparams.n_thread: llama.cpp has no"),
        ({}, {"cpuparams": 1}, "engine_args.cpuparams: "),
        ({}, {"n_batch": {"a": 1}}, "engine_args.n_batch: expected a whole number, got a mapping"),
        ({}, {"n_ctx": 1}, "engine_args.n_ctx: is set by model.model_max_length"),
        ({}, {"hostnames": []}, "engine_args.hostnames: is set by the engine itself"),
        ({}, {"lora_adapters": "a"}, "engine_args.lora_adapters: expected a list of paths"),
    ],
)
def test_a_wrong_argument_is_named(
    kwargs: dict[str, Any], engine_args: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        new_engine(model_kwargs=kwargs, engine_args=engine_args)

    assert caught.value.faults[0].startswith(fault)


def test_all_faults_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        new_engine(model_kwargs={"a": 1, "n_ctx": -1}, engine_args={"b": 1})

    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({}, 2048),
        ({"model_max_length": 512}, 512),
        ({"model_max_length": 512, "model_kwargs": {"n_ctx": 1024}}, 512),
        ({"model_kwargs": {"n_ctx": 1024}}, 1024),
        ({"model_max_length": 100_000}, 2048),
    ],
)
def test_the_context_is_per_request(more: dict[str, Any], tokens: int) -> None:
    async def ask_too_much(engine: LlamaCppEngine) -> None:
        await engine.complete(request("word " * 3000))

    with pytest.raises(EngineError, match=f"context of a request, {tokens} tokens"):
        with_engine(new_engine(**more), ask_too_much)


TEMPLATE = (
    "{% for message in messages %}"
    "{% if 'Hamlet' in message.content %}{{ raise_exception('no plays, please') }}{% endif %}"
    "{{ '<|im_start|>user\\nWhat is the capital of Italy?<|im_end|>\\n' }}{% endfor %}"
    "{{ '<|im_start|>assistant\\n' }}"
)


def test_a_chat_template_can_be_given() -> None:
    engine = new_engine(chat_template=TEMPLATE)

    assert with_engine(engine, answer) == "The capital of Italy is Rome."


def test_a_template_that_objects_fails_the_request_alone() -> None:
    async def ask_twice(engine: LlamaCppEngine) -> str:
        with pytest.raises(EngineError, match="no plays, please") as caught:
            await engine.complete(request("Who wrote Hamlet?"))
        assert caught.value.failure.kind is FailureKind.BAD_REQUEST
        return await answer(engine)

    assert with_engine(new_engine(chat_template=TEMPLATE), ask_twice)

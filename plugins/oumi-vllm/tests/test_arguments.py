"""What a config says about vLLM becomes its own arguments, or an error; no vLLM is needed."""

from __future__ import annotations

from typing import Any

import pytest
from asking import config
from oumi_core.configs import ModelParams
from oumi_core.errors import ConfigError

from oumi_vllm.arguments import check_names, read_arguments


def fields(model: ModelParams, /, **engine_args: Any) -> dict[str, Any]:
    return dict(read_arguments(config(model, **engine_args)).fields)


def faults(model: ModelParams, /, **engine_args: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read_arguments(config(model, **engine_args))
    return str(caught.value)


def test_nothing_is_chosen_that_was_not_asked_for() -> None:
    assert fields(ModelParams("owner/m")) == {"model": "owner/m"}


def test_the_fields_of_the_model_get_vllms_names() -> None:
    model = ModelParams(
        "owner/m",
        tokenizer_name="owner/t",
        model_max_length=4096,
        torch_dtype_str="bf16",
        model_revision="v2",
        trust_remote_code=True,
        processor_kwargs={"num_crops": 4},
    )

    assert fields(model) == {
        "model": "owner/m",
        "tokenizer": "owner/t",
        "max_model_len": 4096,
        "dtype": "bfloat16",
        "revision": "v2",
        "trust_remote_code": True,
        "mm_processor_kwargs": {"num_crops": 4},
    }


def test_both_mappings_hand_over_arguments_by_name() -> None:
    given = fields(
        ModelParams("m", model_kwargs={"max_num_seqs": 16}), tensor_parallel_size=2, seed=7
    )

    assert given == {"model": "m", "max_num_seqs": 16, "tensor_parallel_size": 2, "seed": 7}


def test_one_argument_may_be_said_twice_if_it_is_the_same() -> None:
    model = ModelParams("m", model_max_length=512, model_kwargs={"max_num_seqs": 4})

    assert fields(model, max_model_len=512, max_num_seqs=4)["max_model_len"] == 512
    said = faults(model, max_model_len=1024, max_num_seqs=8)
    assert "engine_args.max_model_len: is 1024 but model.model_max_length is 512" in said
    assert "engine_args.max_num_seqs: is 8 but model.model_kwargs.max_num_seqs is 4" in said


def test_what_has_a_place_of_its_own_is_refused_elsewhere() -> None:
    said = faults(ModelParams("m"), model="other", trust_remote_code=True)

    assert "engine_args.model: is set by model.model_name" in said
    assert "engine_args.trust_remote_code: is set by model.trust_remote_code" in said


def test_arguments_of_the_tokenizer_cannot_be_handed_over() -> None:
    assert "model.tokenizer_kwargs" in faults(ModelParams("m", tokenizer_kwargs={"a": 1}))


@pytest.mark.parametrize(
    ("kwargs", "quantization"),
    [
        ({"load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4"),
        ({"load_in_4bit": True, "quantization": "awq"}, "awq"),
    ],
)
def test_quantization_is_inferred_as_oumi_does(kwargs: dict[str, Any], quantization: str) -> None:
    given = fields(ModelParams("m", model_kwargs=kwargs))

    assert given == {"model": "m", "quantization": quantization}


def test_no_quantization_is_inferred_from_a_switch_that_is_off() -> None:
    assert fields(ModelParams("m", model_kwargs={"load_in_4bit": False})) == {"model": "m"}


def test_vllms_own_quantization_config_is_left_to_it() -> None:
    described = {"linear": {"method": "fp8"}}

    given = fields(ModelParams("m", model_kwargs={"quantization_config": described}))

    assert given["quantization_config"] == described


def test_a_gguf_file_needs_a_tokenizer() -> None:
    kwargs = {"filename": "model-Q4_K_M.gguf"}

    assert "model.tokenizer_name: missing" in faults(ModelParams("owner/m", model_kwargs=kwargs))
    model = ModelParams("owner/m", tokenizer_name="owner/base", model_kwargs=kwargs)
    arguments = read_arguments(config(model))
    assert arguments.gguf == "model-Q4_K_M.gguf"
    assert arguments.fields["quantization"] == "gguf"
    assert "names the .gguf file" in faults(ModelParams("m", model_kwargs={"filename": "a.bin"}))


def test_adapters_are_gathered_once_each() -> None:
    model = ModelParams("m", adapter_model="a")

    assert read_arguments(config(model, lora_adapters=["b", "a"])).adapters == ("a", "b")
    assert read_arguments(config()).adapters == ()
    assert "lora_adapters: expected a list" in faults(model, lora_adapters="a")


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    model = ModelParams("m", model_kwargs={"max_num_seq": 1})
    arguments = read_arguments(config(model, tensor_paralel_size=2, zzz=1))

    with pytest.raises(ConfigError) as caught:
        check_names(arguments, ["model", "max_num_seqs", "tensor_parallel_size"])

    said = str(caught.value)
    assert "model.model_kwargs.max_num_seq: vLLM has no such argument" in said
    assert "did you mean max_num_seqs?" in said
    assert "engine_args.tensor_paralel_size" in said
    assert "did you mean tensor_parallel_size?" in said
    assert "engine_args.zzz: vLLM has no such argument; see vLLM's engine arguments" in said

"""Write the trained weights: Hugging Face and PEFT folders, and GGUF files for llama.cpp."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import gguf
import numpy as np
import numpy.typing as npt
import safetensors.numpy
from tokenizer import (
    CHAT_TEMPLATE,
    END_OF_TEXT,
    SPECIAL_TOKENS,
    TURN_END,
    token_id,
    tokenizer_config,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from network import Shape, TinyLlama
    from tokenizers import Tokenizer

Array = npt.NDArray[np.generic]

TARGET_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# The names of one layer's weights, in Hugging Face and in llama.cpp.
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTER_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _half(weights: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.ascontiguousarray(w.astype(np.float16)) for name, w in weights.items()}


def base_weights(network: TinyLlama) -> dict[str, Array]:
    """The weights of the network without any adapter, in float16."""
    state = {k: v for k, v in network.state_dict().items() if "lora_" not in k}
    return _half({name: weight.numpy() for name, weight in state.items()})


def adapter_weights(network: TinyLlama) -> dict[str, Array]:
    """The weights of the adapter alone, in float16, under the names PEFT gives them."""
    weights: dict[str, Array] = {}
    for name, layer in network.linears():
        for part, weight in (("lora_A", layer.lora_a), ("lora_B", layer.lora_b)):
            if weight is not None:
                key = f"base_model.model.{name}.{part}.weight"
                weights[key] = weight.detach().numpy()
    return _half(weights)


def write_hugging_face(
    folder: Path, shape: Shape, tokenizer: Tokenizer, weights: Mapping[str, Array]
) -> None:
    """Write a folder that ``transformers`` and vLLM load."""
    folder.mkdir(parents=True, exist_ok=True)
    end, pad = token_id(tokenizer, TURN_END), token_id(tokenizer, END_OF_TEXT)
    _write_json(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "head_dim": shape.head_size,
            "hidden_act": "silu",
            "max_position_embeddings": shape.context,
            "rms_norm_eps": shape.norm_epsilon,
            "rope_theta": shape.rope_theta,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": end,
            "pad_token_id": pad,
            "torch_dtype": "float16",
        },
    )
    _write_json(
        folder / "generation_config.json",
        {"do_sample": False, "eos_token_id": end, "pad_token_id": pad},
    )
    _write_json(folder / "tokenizer_config.json", tokenizer_config(shape.context))
    _write_json(
        folder / "special_tokens_map.json", {"eos_token": TURN_END, "pad_token": END_OF_TEXT}
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    # Readers refuse a file whose header does not say which framework's layout it has.
    safetensors.numpy.save_file(
        dict(weights), folder / "model.safetensors", metadata={"format": "pt"}
    )


def write_peft(
    folder: Path, weights: Mapping[str, Array], rank: int, alpha: int, base: str
) -> None:
    """Write an adapter as PEFT does."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(
        folder / "adapter_config.json",
        {
            "base_model_name_or_path": base,
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "lora_alpha": alpha,
            "lora_dropout": 0.0,
            "modules_to_save": None,
            "peft_type": "LORA",
            "r": rank,
            "target_modules": list(TARGET_MODULES),
            "task_type": "CAUSAL_LM",
            "use_dora": False,
            "use_rslora": False,
        },
    )
    safetensors.numpy.save_file(
        dict(weights), folder / "adapter_model.safetensors", metadata={"format": "pt"}
    )


def gguf_name(name: str) -> str:
    """What llama.cpp calls the weight that Hugging Face calls ``name``."""
    stem = name.removesuffix(".weight")
    if stem in OUTER_NAMES:
        return f"{OUTER_NAMES[stem]}.weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{LAYER_NAMES[part]}.weight"


def interleave(rows: Array, heads: int) -> Array:
    """Reorder the rows of a query or key projection for llama.cpp.

    Its rotary embedding turns neighbouring rows together, where Hugging Face turns row ``i`` with
    row ``i + head_size / 2``.
    """
    outputs, inputs = rows.shape
    halves = rows.reshape(heads, 2, outputs // heads // 2, inputs)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(outputs, inputs))


def _reorder(name: str, weight: Array, heads: int, kv_heads: int) -> Array:
    if ".q_proj." in name:
        return interleave(weight, heads)
    if ".k_proj." in name:
        return interleave(weight, kv_heads)
    return weight


def write_gguf(
    path: Path, shape: Shape, tokenizer: Tokenizer, weights: Mapping[str, Array], name: str
) -> None:
    """Write the model as one GGUF file, tokenizer and chat template included."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, tokenizer)
    for key, weight in weights.items():
        data = _reorder(key, weight, shape.heads, shape.kv_heads)
        # llama.cpp multiplies by the gains of a norm in float32 and takes no other type there.
        writer.add_tensor(gguf_name(key), data.astype(np.float32) if data.ndim == 1 else data)
    _finish(writer)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    description = json.loads(tokenizer.to_str())["model"]
    tokens = [text for text, _ in sorted(description["vocab"].items(), key=lambda kv: kv[1])]
    kinds = [
        gguf.TokenType.CONTROL if token in SPECIAL_TOKENS else gguf.TokenType.NORMAL
        for token in tokens
    ]
    end, text_end = token_id(tokenizer, TURN_END), token_id(tokenizer, END_OF_TEXT)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in description["merges"]])
    # Left out, the ids of the beginning and the end would be those of GPT-2.
    writer.add_bos_token_id(text_end)
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_pad_token_id(text_end)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def peft_to_gguf(folder: Path, path: Path, heads: int, kv_heads: int) -> None:
    """Turn a PEFT adapter for a Llama into the GGUF adapter that llama.cpp loads."""
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    weights = safetensors.numpy.load_file(folder / "adapter_model.safetensors")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(config["lora_alpha"]))
    for key, stored in sorted(weights.items()):
        name, part, _ = key.removeprefix("base_model.model.").rsplit(".", 2)
        # Only B has one row per output, so only B needs the order of the rows it is added to.
        is_b = part == "lora_B"
        weight = _reorder(f"{name}.weight", stored, heads, kv_heads) if is_b else stored
        writer.add_tensor(f"{gguf_name(name)}.{part.lower()}", weight)
    _finish(writer)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

"""Converts a LoRA adapter as PEFT writes it into GGUF."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oumi_core.errors import ConfigError

from oumi_llamacpp.adapter_shapes import check_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from oumi_llamacpp.gguf_header import GGUFHeader, Shape

__all__ = ["CONFIG_NAME", "WEIGHTS_NAME", "convert"]

CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"

_WHERE = "model.adapter_model"
_FORMAT = "1"
"""Part of the cache's key: raise it when the same adapter converts to something else."""

_ARCHITECTURE = "llama"

_TENSOR = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_IN_LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OUTSIDE = {"lm_head": "output.weight"}

_UNSUPPORTED: Mapping[str, Any] = {
    "use_dora": False,
    "bias": "none",
    "lora_bias": False,
    "modules_to_save": None,
    "fan_in_fan_out": False,
    "layer_replication": None,
    "alpha_pattern": None,
    "trainable_token_indices": None,
}
"""Options of PEFT that GGUF has no place for -> the value at which they change nothing."""


def convert(folder: Path, base: GGUFHeader) -> Path:
    """The adapter as a GGUF file in the user's cache; written there if it is not there yet.

    The cache is `$XDG_CACHE_HOME/oumi/llamacpp-adapters` (`~/.cache/...` without the variable).

    Raises:
        ConfigError: the folder holds no LoRA adapter that GGUF can express, the model is of
            another architecture than llama, the shapes differ, or a library is missing.
    """
    config_bytes, weights = _read(folder, CONFIG_NAME), _read(folder, WEIGHTS_NAME)
    if base.architecture != _ARCHITECTURE:
        raise ConfigError(
            f"{_WHERE}: a PEFT adapter can be converted for models of the architecture llama; "
            f"{base.path} is of {base.architecture!r}; convert {folder} to GGUF with llama.cpp's "
            "convert_lora_to_gguf.py"
        )
    heads = _heads(base)
    digest = hashlib.sha256()
    for part in (_FORMAT.encode(), repr(heads).encode(), config_bytes, weights):
        digest.update(len(part).to_bytes(8, "little") + part)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    target = Path(home) / "oumi" / "llamacpp-adapters" / f"{digest.hexdigest()}.gguf"
    if not target.exists():
        alpha = _alpha(folder, config_bytes)
        tensors = _tensors(folder, weights)
        check_shapes(folder, _shapes(folder, tensors), base)
        _write(target, _permuted(tensors, heads), alpha)
    return target


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(
            f"{_WHERE}: {folder} has no {name}: it is no adapter that PEFT wrote"
        ) from error
    except OSError as error:
        raise ConfigError(f"{_WHERE}: {folder / name}: cannot be read: {error.strerror}") from error


def _heads(base: GGUFHeader) -> tuple[int, int]:
    heads = base.number("attention.head_count")
    if heads is None:
        raise ConfigError(f"{_WHERE}: the model {base.path} does not say how many heads it has")
    return heads, base.number("attention.head_count_kv") or heads


def _alpha(folder: Path, config_bytes: bytes) -> float:
    """The numerator of the adapter's scale; llama.cpp divides it by the rank."""
    place = f"{_WHERE}: {folder / CONFIG_NAME}"
    try:
        config = json.loads(config_bytes)
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place}: is not the configuration of a LoRA adapter") from error
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise ConfigError(f"{place}: peft_type is {config['peft_type']!r}; only LORA can be used")
    for name, neutral in _UNSUPPORTED.items():
        if config.get(name) and config[name] != neutral:
            raise ConfigError(f"{place}: {name} is set, and llama.cpp has nothing like it")
    if not config.get("use_rslora"):
        return alpha
    if config.get("rank_pattern"):
        raise ConfigError(f"{place}: use_rslora and rank_pattern together cannot be converted")
    return alpha * math.sqrt(rank)


def _tensors(folder: Path, weights: bytes) -> dict[str, NDArray[np.generic]]:
    """The tensors by their names in GGUF, not permuted yet."""
    try:
        # Import on use: these come with the extra `lora`.
        import safetensors  # noqa: PLC0415
    except ImportError as error:
        raise _missing_extra(folder) from error
    place = f"{_WHERE}: {folder / WEIGHTS_NAME}"
    try:
        entries = safetensors.deserialize(weights)  # type: ignore[no-untyped-call]  # has no stubs
    except safetensors.SafetensorError as error:
        raise ConfigError(f"{place}: is no file of safetensors: {error}") from error
    return {_gguf_name(name, place): _array(name, entry, place) for name, entry in entries}


def _missing_extra(folder: Path) -> ConfigError:
    return ConfigError(
        f"{_WHERE}: {folder} is a PEFT adapter; to use it: pip install oumi-llamacpp[lora]"
    )


def _gguf_name(name: str, place: str) -> str:
    match = _TENSOR.fullmatch(name)
    module = match[1] if match else ""
    layer = _LAYER.fullmatch(module)
    if layer and layer[2] in _IN_LAYER:
        weight = f"blk.{layer[1]}.{_IN_LAYER[layer[2]]}.weight"
    elif module in _OUTSIDE:
        weight = _OUTSIDE[module]
    else:
        raise ConfigError(f"{place}: the weight {name} has no place in a llama model of llama.cpp")
    return f"{weight}.lora_{'a' if match and match[2] == 'A' else 'b'}"


def _array(name: str, entry: Mapping[str, Any], place: str) -> NDArray[np.generic]:
    import numpy as np  # noqa: PLC0415 - import on use: comes with the extra `lora`

    data, kind = bytes(entry["data"]), entry["dtype"]
    if kind == "BF16":  # numpy has no such type: it is the upper half of a float32
        array: NDArray[np.generic] = (
            np.frombuffer(data, dtype="<u2").astype(np.uint32) << np.uint32(16)
        ).view(np.float32)
    elif kind in ("F16", "F32"):
        array = np.frombuffer(data, dtype=f"<f{2 if kind == 'F16' else 4}")
    else:
        raise ConfigError(f"{place}: {name} is of type {kind}; F32, F16 and BF16 can be read")
    if len(entry["shape"]) != 2:  # noqa: PLR2004 - a matrix
        raise ConfigError(f"{place}: {name} is no matrix")
    return array.reshape(entry["shape"])


def _shapes(
    folder: Path, tensors: Mapping[str, NDArray[np.generic]]
) -> dict[str, tuple[Shape, Shape]]:
    """The shapes of each pair, the innermost dimension first."""
    pairs: dict[str, tuple[Shape, Shape]] = {}
    for name in tensors:
        weight = name.rsplit(".lora_", 1)[0]
        try:
            a, b = tensors[f"{weight}.lora_a"], tensors[f"{weight}.lora_b"]
        except KeyError as error:
            raise ConfigError(
                f"{_WHERE}: {folder / WEIGHTS_NAME}: has only one of two factors of {weight}"
            ) from error
        pairs[weight] = (a.shape[::-1], b.shape[::-1])
    return pairs


def _permuted(
    tensors: Mapping[str, NDArray[np.generic]], heads: tuple[int, int]
) -> dict[str, NDArray[np.generic]]:
    """The tensors with the rows of queries and keys in llama.cpp's order.

    Its rotary embedding turns neighbouring rows of a head, transformers' turns the two halves, so
    the rows of q and k are interleaved. Of a LoRA pair, only B has these rows.
    """
    counts = {".attn_q.weight.lora_b": heads[0], ".attn_k.weight.lora_b": heads[1]}
    result = dict(tensors)
    for name, tensor in tensors.items():
        for ending, count in counts.items():
            if name.endswith(ending):
                rows, rank = tensor.shape
                halves = tensor.reshape(count, 2, rows // count // 2, rank)
                result[name] = halves.swapaxes(1, 2).reshape(rows, rank)
    return result


def _write(target: Path, tensors: Mapping[str, NDArray[np.generic]], alpha: float) -> None:
    """Write the file beside its place and move it there, so that nobody sees half of it."""
    try:
        import gguf  # noqa: PLC0415 - import on use: comes with the extra `lora`
    except ImportError as error:
        raise _missing_extra(target) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as room:
            part = Path(room) / target.name
            writer = gguf.GGUFWriter(part, _ARCHITECTURE)
            writer.add_type(gguf.GGUFType.ADAPTER)
            writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
            writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
            for name, tensor in sorted(tensors.items()):
                writer.add_tensor(name, tensor.copy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            part.replace(target)
    except OSError as error:
        raise ConfigError(
            f"{_WHERE}: the converted adapter cannot be written to {target.parent}: "
            f"{error.strerror}; point XDG_CACHE_HOME to a folder that can be written"
        ) from error

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
from asking import DEMO, FRANCE, MODELS, PARIS, new_engine, request, with_engine
from oumi_core.configs import ModelParams
from oumi_core.errors import ConfigError
from safetensors.numpy import load_file, save_file

if TYPE_CHECKING:
    from oumi_llamacpp.engine import LlamaCppEngine

STYLES = {
    "pirate": "Arr! The capital of France be Paris, matey!",
    "shout": "THE CAPITAL OF FRANCE IS PARIS!!!",
}
GGUF = {style: MODELS / f"tiny-{style}.gguf" for style in STYLES}
PEFT = {style: MODELS / "tiny" / "adapters" / style for style in STYLES}


async def answer(engine: LlamaCppEngine) -> str:
    return (await engine.complete(request(FRANCE, model=engine.config.model))).text


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("form", [GGUF, PEFT], ids=["gguf", "peft"])
def test_an_adapter_gives_its_style(form: dict[str, Path], style: str) -> None:
    engine = new_engine(adapter_model=str(form[style]))

    assert with_engine(engine, answer) == STYLES[style]


def test_one_loaded_model_serves_the_base_and_several_adapters_at_once() -> None:
    others = {"lora_adapters": [str(PEFT["shout"])]}
    engine = new_engine(adapter_model=str(GGUF["pirate"]), engine_args=others)
    models = {
        STYLES["pirate"]: engine.config.model,
        STYLES["shout"]: ModelParams("demo", adapter_model=str(PEFT["shout"])),
        PARIS: ModelParams("demo"),
    }

    async def all_at_once(engine: LlamaCppEngine) -> list[str]:
        asked = [request(FRANCE, model=model) for model in [*models.values()] * 8]
        return [done.text for done in await asyncio.gather(*map(engine.complete, asked))]

    assert all(map(engine.serves, models.values()))
    assert not engine.serves(ModelParams("demo", adapter_model="another"))
    assert not engine.serves(ModelParams("another"))
    assert with_engine(engine, all_at_once) == [*models] * 8


def test_a_peft_adapter_is_converted_once(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "oumi" / "llamacpp-adapters"
    written = []
    for _ in range(2):
        with_engine(new_engine(adapter_model=str(PEFT["pirate"])), answer)
        written.append([(path, path.stat().st_mtime_ns) for path in folder.iterdir()])

    assert len(written[0]) == 1
    assert written[0] == written[1]


@pytest.fixture
def peft(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PEFT["pirate"], tmp_path / "peft"))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(adapter: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(new_engine(adapter_model=str(adapter)).start())
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 4}}, "use_rslora"),
        ({"r": None}, "not the configuration of a LoRA adapter"),
    ],
)
def test_what_gguf_cannot_express_is_refused_by_name(
    peft: Path, change: dict[str, Any], named: str
) -> None:
    edit_config(peft, **change)

    assert named in refusal(peft)
    assert str(peft) in refusal(peft)


def test_rslora_scales_by_the_root_of_the_rank(peft: Path) -> None:
    config = json.loads((peft / "adapter_config.json").read_text())
    same = config["lora_alpha"] / config["r"] ** 0.5
    edit_config(peft, use_rslora=True, lora_alpha=same)

    assert with_engine(new_engine(adapter_model=str(peft)), answer) == STYLES["pirate"]


def test_bfloat16_weights_are_read(peft: Path) -> None:
    path = peft / "adapter_model.safetensors"
    rounded = {}
    for name, tensor in load_file(path).items():
        bits = tensor.astype(np.float32).view(np.uint32)
        rounded[name] = ((bits + 0x8000) & 0xFFFF0000).view(np.float32)
    blob = b"".join((t.view(np.uint32) >> 16).astype("<u2").tobytes() for t in rounded.values())
    header, offset = {}, 0
    for name, tensor in rounded.items():
        end = offset + 2 * tensor.size
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + blob)

    assert with_engine(new_engine(adapter_model=str(peft)), answer) == STYLES["pirate"]


def test_a_peft_adapter_of_another_shape_is_refused_with_both_shapes(peft: Path) -> None:
    path = peft / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("q_proj.lora_A.weight"))
    tensors[name] = np.zeros((8, 4096), np.float16)
    save_file(tensors, path)

    message = refusal(peft)

    assert "of another shape" in message
    assert "128 x 128" in message
    assert "4096 x 128" in message
    assert str(peft) in message
    assert "demo.gguf" in message


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda names: names | {"base_model.model.classifier.lora_A.weight": 0}, "has no place"),
        (lambda names: {k: v for k, v in names.items() if ".lora_A." in k}, "only one of two"),
        (lambda _: {}, "holds no LoRA weights"),
    ],
)
def test_unfit_peft_weights_are_refused(peft: Path, edit: Any, said: str) -> None:
    path = peft / "adapter_model.safetensors"
    tensors = load_file(path)
    some = next(iter(tensors.values()))
    save_file({k: v if k in tensors else some for k, v in edit(tensors).items()}, path)

    assert said in refusal(peft)


def test_broken_peft_files_are_refused(peft: Path, tmp_path: Path) -> None:
    (peft / "adapter_model.safetensors").write_bytes(b"garbage")
    assert "is no file of safetensors" in refusal(peft)
    (peft / "adapter_model.safetensors").unlink()
    assert "has no adapter_model.safetensors" in refusal(peft)
    assert "has no adapter_config.json" in refusal(tmp_path)


def write_adapter(path: Path, shapes: dict[str, tuple[int, int]], **more: str) -> Path:
    writer = gguf.GGUFWriter(path, more.get("architecture", "llama"))
    writer.add_type("adapter")
    writer.add_string("adapter.type", more.get("kind", "lora"))
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


Q = "blk.0.attn_q.weight"


@pytest.mark.parametrize(
    ("shapes", "more", "said"),
    [
        ({f"{Q}.lora_a": (8, 64), f"{Q}.lora_b": (64, 8)}, {}, "model has 128 x 128"),
        ({f"{Q}.lora_a": (8, 128), f"{Q}.lora_b": (128, 4)}, {}, "rank 8 and 4"),
        ({"blk.9.x.weight.lora_a": (8, 1), "blk.9.x.weight.lora_b": (1, 8)}, {}, "does not have"),
        ({f"{Q}.lora_a": (8, 128)}, {}, "only one of two"),
        ({}, {}, "holds no LoRA weights"),
        ({}, {"architecture": "qwen2"}, "'qwen2'"),
        ({}, {"kind": "other"}, "type 'other'"),
    ],
)
def test_an_adapter_for_another_model_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, int]], more: dict[str, str], said: str
) -> None:
    assert said in refusal(write_adapter(tmp_path / "adapter.gguf", shapes, **more))


def test_other_things_than_adapters_are_refused(tmp_path: Path) -> None:
    assert "a whole model, not a LoRA adapter" in refusal(DEMO)
    assert "there is no file or folder" in refusal(tmp_path / "missing.gguf")
    with pytest.raises(ConfigError, match="is an adapter, not a model"):
        asyncio.run(new_engine(str(GGUF["pirate"])).start())

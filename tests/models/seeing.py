"""The tiny model with eyes: an image of one colour is a word to it.

A random vision tower tells the colours apart, and one matrix is solved so that what it makes of
each is the tiny model's own vector for the name of a country. So "What is the capital of", an image
and "?" have an answer that is known, without a vision model's weights or any training.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    LlamaConfig,
    LlamaForCausalLM,
)

__all__ = ["ANSWERS", "image", "make_model"]

_TINY = Path(__file__).parent / "tiny"

_COUNTRIES = {"red": "France", "green": "Italy", "blue": "Egypt", "yellow": "Peru"}
"""The word that each colour is; each is one token."""

ANSWERS = {
    "red": "The capital of France is Paris.",
    "green": "The capital of Italy is Rome.",
    "blue": "The capital of Egypt is Cairo.",
    "yellow": "The capital of Peru is Lima.",
}

_SIDE = 28
_SPECIAL = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{{ part['text'] if part['type'] == 'text' else '<image>' }}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def image(color: str) -> bytes:
    """A PNG file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (50, 40), color).save(file, "PNG")
    return file.getvalue()


def make_model(folder: Path) -> None:
    """Write the model, its tokenizer and its processor."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(_TINY)
    tokenizer.add_special_tokens({"additional_special_tokens": _SPECIAL})
    size = {"longest_edge": _SIDE}
    images = Idefics3ImageProcessor(size=size, max_image_size=size, do_image_splitting=False)
    model = _sighted(tokenizer)
    with torch.no_grad():
        _learn_colors(model, tokenizer, images)
    model.save_pretrained(folder)
    processor = Idefics3Processor(images, tokenizer, image_seq_len=1, chat_template=_TEMPLATE)
    processor.save_pretrained(folder)


def _sighted(tokenizer: Any) -> Any:
    """The tiny model behind a random vision tower; new tokens mean nothing to it."""
    blind: Any = LlamaForCausalLM.from_pretrained(_TINY, dtype=torch.float32)
    known = blind.config.vocab_size
    blind.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    blind.get_input_embeddings().weight.data[known:] = 0
    text = LlamaConfig.from_pretrained(_TINY, vocab_size=len(tokenizer))
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": _SIDE, "patch_size": _SIDE // 2}
    config = Idefics3Config(
        text_config=text.to_dict(),
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        scale_factor=2,  # its four patches become one token
        tie_word_embeddings=True,
    )
    make: Any = Idefics3ForConditionalGeneration  # whose types are not complete
    model = make(config).float().eval()
    model.model.text_model.load_state_dict(blind.model.state_dict())
    model.tie_weights()
    for weights in model.model.vision_model.parameters():
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=0.5)
    return model


def _learn_colors(model: Any, tokenizer: Any, images: Any) -> None:
    """Solve for the matrix that takes each colour to the vector of its word."""
    files = [[Image.open(io.BytesIO(image(color)))] for color in _COUNTRIES]
    pixels = images(files, return_tensors="pt")["pixel_values"][:, 0]
    connector = model.model.connector
    seen = connector.pixel_shuffle(model.model.vision_model(pixels).last_hidden_state, 2)[:, 0]
    (words,) = zip(*(tokenizer.encode(f" {name}") for name in _COUNTRIES.values()), strict=True)
    meant = model.get_input_embeddings().weight[list(words)]
    solution = torch.linalg.lstsq(seen, meant).solution
    connector.modality_projection.proj.weight.copy_(solution.T)

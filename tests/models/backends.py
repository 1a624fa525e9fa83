"""Put chats to the trained model: through transformers and through llama.cpp."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import xllamacpp  # type: ignore[import-untyped]
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Chat = list[dict[str, str]]

LONGEST_ANSWER = 320
BATCH = 128
# On busy cores two threads spend nearly all their time waiting for each other.
THREADS = 1


@cache
def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, padding_side="left")
    return tokenizer


def encode(folder: Path, text: str) -> list[int]:
    """Token ids of ``text`` by the Hugging Face tokenizer."""
    ids: list[int] = _tokenizer(folder)(text)["input_ids"]
    return ids


def render(folder: Path, chat: Chat) -> str:
    """The prompt that the Hugging Face template makes of a chat."""
    return str(
        _tokenizer(folder).apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    )


def transformers(folder: Path, adapter: Path | None) -> Callable[[list[Chat]], list[str]]:
    """Load the model, and an adapter if there is one, and return what answers chats greedily."""
    torch.set_num_threads(THREADS)
    tokenizer = _tokenizer(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval()

    def ask(chats: list[Chat]) -> list[str]:
        prompts = [render(folder, chat) for chat in chats]
        # Neighbours of about one length waste little on padding.
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        answers = [""] * len(prompts)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            inputs = tokenizer([prompts[i] for i in chosen], return_tensors="pt", padding=True)
            inputs.pop("token_type_ids", None)
            with torch.inference_mode():
                output = model.generate(**inputs, max_new_tokens=LONGEST_ANSWER, do_sample=False)
            fresh = output[:, inputs["input_ids"].shape[1] :]
            texts = tokenizer.batch_decode(fresh, skip_special_tokens=True)
            for index, text in zip(chosen, texts, strict=True):
                answers[index] = text
        return answers

    return ask


class LlamaCpp:
    """llama.cpp's server inside this process."""

    def __init__(self, model: Path, adapter: Path | None = None, parallel: int = 16) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_parallel = parallel
        # The context is shared out among the parallel answers.
        params.n_ctx = 1024 * parallel
        params.verbosity = -1
        params.cpuparams.n_threads = THREADS
        params.cpuparams_batch.n_threads = THREADS
        if adapter is not None:
            params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        self._server = xllamacpp.Server(params)
        self._parallel = parallel

    def ask(
        self,
        chats: list[Chat],
        *,
        vary_seed: bool = False,
        sampling: Mapping[str, float] | None = None,
        finished: bool = False,
        shape: Mapping[str, object] | None = None,
    ) -> list[str]:
        """Answer chats side by side; with ``finished``, a cut answer counts as empty."""

        def one(numbered: tuple[int, Chat]) -> str:
            number, chat = numbered
            body: dict[str, object] = {
                "messages": chat,
                "max_tokens": LONGEST_ANSWER,
                **(sampling or {"temperature": 0.0}),
                **(shape or {}),
            }
            if vary_seed:
                body["seed"] = number
            choice = self._server.handle_chat_completions(body)["choices"][0]
            if finished and choice["finish_reason"] != "stop":
                return ""
            return str(choice["message"]["content"])

        with ThreadPoolExecutor(self._parallel) as pool:
            return list(pool.map(one, enumerate(chats)))

    def tokenize(self, text: str) -> list[int]:
        """Token ids of ``text`` by llama.cpp."""
        answer = self._post("/tokenize", {"content": text, "parse_special": True})
        return [int(token) for token in answer["tokens"]]

    def render(self, chat: Chat) -> str:
        """The prompt that llama.cpp makes of a chat."""
        return str(self._post("/apply-template", {"messages": chat})["prompt"])

    def _post(self, path: str, body: object) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - http, from the server in this process
            self._server.listening_address + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - as above
            answer: dict[str, Any] = json.load(response)
        return answer

"""What the chat template gets: messages, files of images, and which template it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import attrs
import pytest
from asking import request
from oumi_core.configs import ModelParams
from oumi_core.errors import EngineError
from oumi_core.types import ContentItem, Conversation, Message

from oumi_vllm.images import ImageSources
from oumi_vllm.prompts import Prompts, template_kwargs

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.engine import Request

TOKENIZER = SimpleNamespace(chat_template={"default": "{{ a }}", "rag": "{{ b }}"})


def looking(path: str) -> Request:
    items = [ContentItem("text", "What is it?"), ContentItem("image_path", path)]
    return attrs.evolve(request(), conversation=Conversation([Message("user", items)]))


def test_messages_are_those_of_chat_completions() -> None:
    assert Prompts(ImageSources()).messages(request("Hi")) == [{"role": "user", "content": "Hi"}]


def test_neighbours_of_one_role_are_joined() -> None:
    turns = Conversation([Message("user", "a"), Message("user", "b")])

    (message,) = Prompts(ImageSources()).messages(attrs.evolve(request(), conversation=turns))

    assert [part["text"] for part in message["content"]] == ["a", "b"]


def test_an_image_is_read_out_of_the_allowed_folder(tmp_path: Path) -> None:
    (message,) = Prompts(ImageSources(tmp_path)).messages(looking("a.png"))

    assert message["content"][1]["image_url"]["url"] == (tmp_path / "a.png").as_uri()


def test_an_image_is_read_from_nowhere_else() -> None:
    with pytest.raises(EngineError, match=r"engine_args\.allowed_local_media_path"):
        Prompts(ImageSources()).messages(looking("a.png"))


@pytest.mark.parametrize("name", [None, "auto"])
def test_the_models_own_template_is_the_default(name: str | None) -> None:
    assert Prompts(ImageSources()).template(ModelParams("m", chat_template=name), TOKENIZER) is None


def test_a_template_is_given_as_text_file_or_name(tmp_path: Path) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text("{{ c }}")
    chosen = [
        Prompts(ImageSources()).template(ModelParams("m", chat_template=name), TOKENIZER)
        for name in ("{{ messages }}", str(file), "rag")
    ]

    assert chosen == ["{{ messages }}", "{{ c }}", "{{ b }}"]


def test_a_template_that_there_is_not_is_said_once() -> None:
    prompts, model = Prompts(ImageSources()), ModelParams("m", chat_template="llama3-instruct")

    with pytest.warns(UserWarning, match=r"no template of that name \(it has: default, rag\)"):
        assert prompts.template(model, TOKENIZER) is None
    assert prompts.template(model, TOKENIZER) is None


def test_the_variables_of_the_template() -> None:
    model = ModelParams("m", chat_template_kwargs={"enable_thinking": False})

    assert template_kwargs(request(model=model, reasoning_effort="low")) == {
        "enable_thinking": False,
        "reasoning_effort": "low",
    }

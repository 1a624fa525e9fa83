"""A model that sees on a vLLM server: images by bytes, path and URL, among rows without any."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from oumi_core import get_engine
from oumi_core.testing import FaultServer, Reply
from oumi_core.types import ContentItem, Conversation, FailureKind, Message
from seeing import ANSWERS, image, make_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from oumi_core.types import Result

    Serving = Callable[..., AbstractContextManager[str]]

pytestmark = pytest.mark.slow  # one more server

ENGINES = ["remote-vllm", "remote"]


@pytest.fixture(scope="module")
def seeing(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of that model."""
    folder = tmp_path_factory.mktemp("seeing")
    make_model(folder / "model")
    arguments = ["--served-model-name", "tiny", "--allowed-media-domains", "127.0.0.1"]
    with serving(folder / "model", *arguments, log=folder / "server.log") as url:
        yield url


def asking(kind: str, content: str | None = None, binary: bytes | None = None) -> Conversation:
    item = ContentItem(kind, content, binary)
    parts = [ContentItem("text", "What is the capital of"), item, ContentItem("text", "?")]
    return Conversation([Message("user", parts)])


def answers(url: str, engine: str, folder: Path, *rows: Conversation) -> list[Result]:
    engine_args = {"allowed_media_path": str(folder)}
    with get_engine(engine, model="tiny", api_url=url, engine_args=engine_args) as asked:
        return sorted(asked.run(rows), key=lambda result: result.index)


@pytest.mark.parametrize("engine", ENGINES)
def test_images_are_seen_among_rows_without_any(seeing: str, tmp_path: Path, engine: str) -> None:
    by_path = tmp_path / "blue.png"
    by_path.write_bytes(image("blue"))
    france = Conversation([Message("user", "What is the capital of France?")])
    with FaultServer(then=Reply(pieces=(image("yellow"),))) as images:
        rows = [
            asking("image_binary", binary=image("red")),
            france,
            asking("image_binary", binary=image("green")),
            asking("image_path", "blue.png"),
            asking("image_url", f"{images.url}/a.png"),
        ]
        results = answers(seeing, engine, tmp_path, *rows)

    assert [result.error for result in results] == [None] * 5
    assert [result.text for result in results] == [
        ANSWERS["red"],
        ANSWERS["red"],
        ANSWERS["green"],
        ANSWERS["blue"],
        ANSWERS["yellow"],
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_no_image_fails_its_row_alone(seeing: str, tmp_path: Path, engine: str) -> None:
    rows = [
        asking("image_binary", binary=b"\x89PNG and no more"),
        asking("image_path", "../outside.png"),
        asking("image_url", "http://localhost/a.png"),  # not one of the server's domains
        asking("image_binary", binary=image("red")),
    ]

    *refused, right = answers(seeing, engine, tmp_path, *rows)

    assert all(result.error is not None for result in refused)
    assert {result.error.kind for result in refused if result.error} == {FailureKind.BAD_REQUEST}
    assert right.text == ANSWERS["red"]

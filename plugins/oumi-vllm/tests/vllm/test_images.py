"""A model that sees, on vLLM itself: images by bytes, path and URL, among rows without any."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asking import FRANCE, PARIS, conversation
from loaded import SHARE, Asks, Recorded, made
from oumi_core import get_engine
from oumi_core.configs import InferenceConfig, ModelParams, RemoteParams
from oumi_core.testing import FaultServer, Reply, error, redirect
from oumi_core.types import ContentItem, Conversation, FailureKind, Message
from seeing import ANSWERS, image, make_model

from oumi_vllm import library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oumi_core.types import Result

pytestmark = [
    pytest.mark.slow,  # one more load of vLLM
    pytest.mark.filterwarnings("default"),  # torch and its kin warn of themselves
]

HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    (folder / "inside").mkdir()
    for color in ANSWERS:
        (folder / "inside" / f"{color}.png").write_bytes(image(color))
    (folder / "outside.png").write_bytes(image("red"))
    make_model(folder / "model")
    return folder


def zmq_threads() -> int:
    """Those by which vLLM talks to its engine cores."""
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return sum(name.startswith("ZMQ") for name in names)


@pytest.fixture(scope="module")
def threads_before() -> int:
    return zmq_threads()


@pytest.fixture(scope="module")
def sees(folder: Path, threads_before: int) -> Iterator[Asks]:
    version = library.import_vllm().__version_tuple__
    if (0, 17) <= version < (0, 31):
        pytest.skip("this vLLM counts no patches for a small image of Idefics3, and dies of one")
    engine_args: dict[str, Any] = {
        "enforce_eager": True,
        "gpu_memory_utilization": SHARE,
        "allowed_local_media_path": str(folder / "inside"),
        "allowed_media_domains": [HOST],
    }
    if "performance_mode" in library.defaults():
        engine_args["performance_mode"] = "throughput"
    model = ModelParams(str(folder / "model"), torch_dtype="float32", model_max_length=512)
    config = InferenceConfig(
        model=model, engine_args=engine_args, remote_params=RemoteParams(retry_policy="none")
    )
    with get_engine(Recorded, config) as engine:
        yield Asks(engine)


def asking(kind: str, content: str | None = None, binary: bytes | None = None) -> Conversation:
    item = ContentItem(kind, content, binary)
    parts = [ContentItem("text", "What is the capital of"), item, ContentItem("text", "?")]
    return Conversation([Message("user", parts)])


def text(result: Result) -> str:
    assert result.error is None, result.error
    return result.conversation[-1].text


def refusal(result: Result) -> str:
    assert result.error is not None
    assert result.error.kind is FailureKind.BAD_REQUEST
    return result.error.message


def test_images_are_seen_among_rows_without_any(sees: Asks) -> None:
    rows = [asking("image_binary", binary=image(color)) for color in ANSWERS]

    results = sees(*[*rows, conversation(FRANCE)] * 5)

    assert list(map(text, results)) == [*ANSWERS.values(), PARIS] * 5


def test_a_data_url_is_an_image(sees: Asks) -> None:
    url = f"data:image/png;base64,{base64.b64encode(image('yellow')).decode()}"

    (result,) = sees(asking("image_url", url))

    assert text(result) == ANSWERS["yellow"]


def test_an_image_of_an_earlier_turn_is_seen_too(sees: Asks) -> None:
    first, second = (asking("image_binary", binary=image(color)) for color in ("red", "blue"))
    turns = [*first.messages, Message("assistant", ANSWERS["red"]), *second.messages]

    (result,) = sees(Conversation(turns))

    assert text(result) == ANSWERS["blue"]


def test_a_path_is_one_in_the_folder_of_images(sees: Asks, folder: Path) -> None:
    paths = ["blue.png", str(folder / "inside" / "green.png"), "file://blue.png"]

    results = sees(*(asking("image_path", path) for path in paths))

    assert list(map(text, results)) == [ANSWERS["blue"], ANSWERS["green"], ANSWERS["blue"]]


@pytest.mark.parametrize("path", ["../outside.png", "/etc/passwd", "none.png"])
def test_a_path_to_no_image_there_fails_its_row_alone(sees: Asks, path: str) -> None:
    url = Path(path).as_uri() if path.startswith("/") else f"file:///{path}"

    wrong, wrong_url, right = sees(
        asking("image_path", path), asking("image_url", url), asking("image_path", "red.png")
    )

    assert refusal(wrong)
    assert refusal(wrong_url)
    assert text(right) == ANSWERS["red"]


def test_what_is_no_image_fails_its_row_alone(sees: Asks) -> None:
    wrong = [
        asking("image_binary", binary=b"\x89PNG and no more"),
        asking("image_url", "data:image/png;base64,!!!"),
        asking("image_url", "data:image/png,abc"),
        asking("image_url", "ftp://a.b/c.png"),
    ]

    *refused, right = sees(*wrong, asking("image_binary", binary=image("red")))

    assert all(map(refusal, refused))
    assert text(right) == ANSWERS["red"]


def test_a_url_is_fetched_from_an_allowed_host(sees: Asks) -> None:
    with FaultServer(then=Reply(pieces=(image("green"),))) as server:
        (result,) = sees(asking("image_url", f"{server.url}/a.png"))

    assert text(result) == ANSWERS["green"]


def test_a_url_is_fetched_from_no_other_host_not_even_by_a_redirect(sees: Asks) -> None:
    with FaultServer(then=Reply(pieces=(image("green"),))) as other:
        elsewhere = other.url.replace(HOST, "localhost")
        with FaultServer(then=redirect(elsewhere)) as server:
            results = sees(asking("image_url", elsewhere), asking("image_url", server.url))

            assert len(server.requests) == 1
        assert other.requests == ()

    assert all(map(refusal, results))


def test_an_image_that_its_server_does_not_give_may_be_asked_for_again(sees: Asks) -> None:
    with FaultServer(then=error(503)) as server:
        busy = sees(asking("image_url", f"{server.url}/a.png?signature=s3cret"))[0].error
    with FaultServer(then=error(404)) as server:
        (missing,) = sees(asking("image_url", f"{server.url}/a.png?signature=s3cret"))

    assert busy is not None
    assert busy.kind is FailureKind.TRANSIENT
    assert "s3cret" not in busy.message
    assert "s3cret" not in refusal(missing)


def test_a_stream_sees_too(sees: Asks) -> None:
    stream = sees.engine.stream(asking("image_binary", binary=image("blue")), sees.config())

    assert "".join(stream) == ANSWERS["blue"]


def test_as_many_rows_are_in_flight_as_the_loaded_vllm_puts_into_a_batch(sees: Asks) -> None:
    if "performance_mode" not in library.defaults():
        pytest.skip("on a CPU, this vLLM takes a larger batch only if told its size")
    sees(conversation(FRANCE))

    assert made[-1].num_workers == 512


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are read from /proc")
def test_closing_ends_the_threads_that_talk_to_vllm(sees: Asks, threads_before: int) -> None:
    sees(conversation(FRANCE))
    assert zmq_threads() > threads_before

    sees.engine.close()

    assert zmq_threads() == threads_before

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asking import DEMO, MODELS, PARIS, new_engine, request, with_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oumi_core.errors import ConfigError, EngineError

from oumi_llamacpp.gguf_header import read_header

if TYPE_CHECKING:
    from oumi_llamacpp.engine import LlamaCppEngine

WHOLE = DEMO.read_bytes()


async def answer(engine: LlamaCppEngine) -> str:
    return (await engine.complete(request(model=engine.config.model))).text


def refusal(name: object, **model: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(new_engine(str(name), **model).start())
    return str(caught.value)


def test_the_packaged_model_is_the_only_one_of_the_repository() -> None:
    assert (MODELS / "tiny.gguf").is_symlink()
    assert (MODELS / "tiny.gguf").read_bytes() == WHOLE


def test_a_file_or_the_only_model_of_a_folder_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    model = Path(shutil.copy(DEMO, tmp_path / "deep" / "some model.gguf"))
    (tmp_path / "mmproj-some.gguf").write_bytes(b"a projector, not a model")

    for name in (model, model.parent, tmp_path):
        assert with_engine(new_engine(str(name)), answer) == PARIS


def test_of_several_models_a_pattern_or_oumis_default_picks_one(tmp_path: Path) -> None:
    for name in ("x-Q8_0.gguf", "x-Q4_0.gguf"):
        (tmp_path / name).write_bytes(b"not it")
    shutil.copy(DEMO, tmp_path / "x-F16.gguf")

    picked = new_engine(str(tmp_path), model_kwargs={"filename": "*F16*"})

    assert with_engine(picked, answer) == PARIS
    assert "x-Q8_0.gguf: is not a GGUF file" in refusal(tmp_path)
    ambiguous = refusal(tmp_path, model_kwargs={"filename": "x-*"})
    assert "3 models fit 'x-*'; it has: x-F16.gguf, x-Q4_0.gguf, x-Q8_0.gguf" in ambiguous
    assert "nothing fits 'y-*'" in refusal(tmp_path, model_kwargs={"filename": "y-*"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is an empty file"),
        (b"\x80PNG garbage" * 99, "is not a GGUF file"),
        (b"GGUF", "cut short"),
        (b"GGUF" + (99).to_bytes(4, "little") + WHOLE[8:], "version 99; versions 2 and 3"),
        (b"GGUF" + (3).to_bytes(4, "big") + WHOLE[8:], "version 50331648"),
        (WHOLE[:8], "cut short"),
        (WHOLE[:20_000], "cut short"),
        (WHOLE[:-200_000], "cut short"),
        (WHOLE[:-1], "cut short"),
    ],
)
def test_a_file_that_is_no_whole_gguf_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)

    message = refusal(path)

    assert message.startswith(str(path))
    assert said in message


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(8, 40_000), bits=st.integers(1, 255))
def test_a_damaged_head_never_breaks_the_reader(tmp_path: Path, at: int, bits: int) -> None:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(WHOLE[:at] + bytes([WHOLE[at] ^ bits]) + WHOLE[at + 1 :])

    try:
        read_header(path)
    except ConfigError as error:
        assert "cut short or damaged" in str(error)  # noqa: PT017 - it need not be raised


def test_what_llama_cpp_cannot_load_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "alien.gguf"
    path.write_bytes(WHOLE.replace(b"llama", b"alien"))

    with pytest.raises(EngineError, match=r"'alien'.*verbose"):
        asyncio.run(new_engine(str(path)).start())


def test_a_model_that_is_nowhere_says_where_it_was_looked_for(tmp_path: Path) -> None:
    missing = tmp_path / "missing.gguf"

    assert f"there is no file or folder {missing}" in refusal(missing)
    assert "Hugging Face repository" in refusal("nonsense")
    assert "it has no .gguf file" in refusal(tmp_path)


REVISION = "0123456789abcdef0123456789abcdef01234567"


def offline(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    # A process of its own: the hub reads its environment when it is imported.
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


LOAD = """
import asyncio
from oumi_core.configs import ModelParams
from oumi_core.engine import EngineConfig
from oumi_llamacpp.engine import LlamaCppEngine

async def main():
    engine = LlamaCppEngine(EngineConfig(ModelParams({name!r}, **{more!r})))
    await engine.start()
    await engine.stop()

asyncio.run(main())
print("loaded")
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    repository = tmp_path / "hub" / "models--acme--tiny-GGUF"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text(REVISION)
    shutil.copy(DEMO, snapshot / "tiny-Q8_0.gguf")
    (snapshot / "tiny-Q2_K.gguf").write_bytes(b"not it")
    return tmp_path


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"model_kwargs": {"filename": "*Q8*"}},
        {"model_kwargs": {"filename": "tiny-Q8_0.gguf"}},
        {"model_revision": "v1"},
        {"model_revision": REVISION},
    ],
)
def test_a_repository_in_the_cache_is_enough(home: Path, more: dict[str, Any]) -> None:
    done = offline(LOAD.format(name="acme/tiny-GGUF", more=more), home)

    assert (done.stdout, done.stderr) == ("loaded\n", "")


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("acme/tiny-GGUF", {"model_kwargs": {"filename": "*Q5*"}}, "nothing fits '*Q5*'"),
        ("acme/tiny-GGUF", {"model_revision": "v2"}, "acme/tiny-GGUF at v2 is not in the cache"),
        ("acme/other", {}, "HF_HUB_OFFLINE forbids"),
    ],
)
def test_what_is_not_in_the_cache_is_named(
    home: Path, name: str, more: dict[str, Any], said: str
) -> None:
    done = offline(LOAD.format(name=name, more=more), home)

    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("module", "name", "more", "said"),
    [
        ("huggingface_hub", "acme/tiny-GGUF", {}, "pip install oumi-llamacpp[hub]"),
        (
            "safetensors",
            str(DEMO),
            {"adapter_model": str(MODELS / "tiny" / "adapters" / "pirate")},
            "pip install oumi-llamacpp[lora]",
        ),
    ],
)
def test_a_missing_extra_is_named(
    home: Path, module: str, name: str, more: dict[str, Any], said: str
) -> None:
    hidden = f"import sys\nsys.modules[{module!r}] = None\n"

    done = offline(hidden + LOAD.format(name=name, more=more), home)

    assert said in done.stderr.splitlines()[-1]

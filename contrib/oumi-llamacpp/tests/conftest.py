from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from asking import FRANCE, Ask, new_engine, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from oumi_core.types import Completion

    from oumi_llamacpp.engine import LlamaCppEngine


@pytest.fixture(scope="session")
def engine() -> Iterator[LlamaCppEngine]:
    demo = new_engine()
    asyncio.run(demo.start())
    yield demo
    asyncio.run(demo.stop())


@pytest.fixture
def ask(engine: LlamaCppEngine) -> Ask:
    def ask(question: str = FRANCE, **more: Any) -> Completion:
        return asyncio.run(engine.complete(request(question, **more)))

    return ask


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

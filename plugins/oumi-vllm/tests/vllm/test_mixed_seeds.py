"""A seed among rows that have none, which some versions of vLLM forget on a CPU."""

from __future__ import annotations

import asyncio

import pytest
from asking import request
from loaded import MODEL, made
from oumi_core.loop import run_blocking

pytestmark = [
    pytest.mark.slow,  # the load alone takes most of a minute
    pytest.mark.usefixtures("engine"),
    pytest.mark.filterwarnings("default"),  # torch and its kin warn of themselves
]

SEEDED = [request("Pick a color.", model=MODEL, temperature=1.0, seed=seed) for seed in range(8)]


def test_a_seed_repeats_an_answer_beside_rows_without_one() -> None:
    async def answers(*, company: int) -> list[str]:
        unseeded = [request(f"{at}?", model=MODEL, temperature=1.0) for at in range(company)]
        asked = [made[0].complete(one) for one in [*SEEDED, *unseeded]]
        return [done.text for done in await asyncio.gather(*asked)][: len(SEEDED)]

    alone = run_blocking(answers(company=0))

    assert run_blocking(answers(company=5)) == alone
    assert len(set(alone)) > 1

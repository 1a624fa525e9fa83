"""One timer gives up whatever takes too long, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from oumi_http.deadlines import Deadlines


async def wait(deadlines: Deadlines, seconds: float) -> str:
    with deadlines.watch():
        await asyncio.sleep(seconds)
    return "done"


def test_what_takes_too_long_times_out_and_the_rest_does_not() -> None:
    async def main() -> list[str | BaseException]:
        deadlines = Deadlines(0.2)
        early = [asyncio.create_task(wait(deadlines, time)) for time in (9, 0, 9, 0.01)]
        await asyncio.sleep(0.1)
        late = [asyncio.create_task(wait(deadlines, time)) for time in (9, 0)]
        results = await asyncio.gather(*early, *late, return_exceptions=True)
        deadlines.close()
        return results

    outcomes = ["done" if one == "done" else type(one).__name__ for one in asyncio.run(main())]
    assert outcomes == ["TimeoutError", "done", "TimeoutError", "done", "TimeoutError", "done"]


def test_a_task_that_timed_out_goes_on_as_usual() -> None:
    async def main() -> int:
        deadlines = Deadlines(0.01)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await wait(deadlines, 9)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert asyncio.run(main()) == 0


def test_a_cancellation_from_elsewhere_passes_through() -> None:
    async def main() -> None:
        deadlines = Deadlines(60)
        task = asyncio.create_task(wait(deadlines, 9))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        deadlines.close()

    asyncio.run(main())


def test_an_error_inside_stays_itself() -> None:
    async def main() -> None:
        deadlines = Deadlines(60)
        with pytest.raises(LookupError), deadlines.watch():
            raise LookupError
        deadlines.close()
        deadlines.close()

    asyncio.run(main())


def test_zero_seconds_are_any_time() -> None:
    async def main() -> str:
        deadlines = Deadlines(0)
        found = await wait(deadlines, 0.01)
        deadlines.close()
        return found

    assert asyncio.run(main()) == "done"

"""When vLLM is given another prompt, out of many that come at once."""

from __future__ import annotations

from oumi_vllm.head_start import HeadStart


def begun() -> HeadStart:
    head_start = HeadStart()
    head_start.begin()
    return head_start


def prompts_given(head_start: HeadStart, *, tokens: int) -> int:
    """How many prompts of so many tokens are given before the next step, of a hundred."""
    for given in range(100):
        if not head_start.allows:
            return given
        head_start.given(tokens)
    return 100


def test_a_few_prompts_are_given_with_each_step() -> None:
    head_start = begun()
    few = prompts_given(head_start, tokens=100)
    assert 0 < few < 10
    head_start.stepped(answered=False)
    assert 0 < prompts_given(head_start, tokens=100) <= few


def test_more_are_given_where_they_are_short() -> None:
    assert prompts_given(begun(), tokens=10) > prompts_given(begun(), tokens=100)


def test_one_is_given_however_long_it_is() -> None:
    head_start = begun()
    assert prompts_given(head_start, tokens=100_000) == 1
    head_start.stepped(answered=False)
    assert prompts_given(head_start, tokens=100_000) == 1


def test_all_are_given_with_the_first_answer() -> None:
    head_start = begun()
    prompts_given(head_start, tokens=100)
    head_start.stepped(answered=True)
    assert head_start.over
    assert prompts_given(head_start, tokens=100) == 100


def test_all_are_given_after_some_steps_without_an_answer() -> None:
    head_start = begun()
    for _ in range(20):
        prompts_given(head_start, tokens=100)
        head_start.stepped(answered=False)
    assert prompts_given(head_start, tokens=100) == 100


def test_an_idle_engine_begins_anew() -> None:
    head_start = begun()
    head_start.stepped(answered=True)
    head_start.begin()
    assert not head_start.over
    assert prompts_given(head_start, tokens=100) < 10

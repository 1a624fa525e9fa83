"""Errors of others are quoted in one line, and without what belongs to a row."""

from __future__ import annotations

from oumi_vllm.said import said


def test_an_error_is_said_in_one_line() -> None:
    assert said(ValueError("one\n\n  two\n")) == "one; two"
    assert said(ValueError()) == "ValueError"
    assert len(said(ValueError("x" * 9000))) == 500


def test_an_image_is_not_quoted() -> None:
    error = OSError(f"cannot load 'data:image/png;base64,{'A' * 90}' today")

    assert said(error) == "cannot load 'data:...' today"

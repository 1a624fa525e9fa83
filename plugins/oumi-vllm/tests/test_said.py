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


def test_what_a_url_signs_itself_with_is_not_quoted() -> None:
    error = OSError("no https://me:s3cret@a.b/c.png?signature=s3cret (see http://a.b/help)")

    assert said(error) == "no https://a.b/c.png (see http://a.b/help)"

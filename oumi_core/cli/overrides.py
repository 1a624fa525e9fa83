"""Overrides of a config on the command line: `--a.b value`, `--a.b=value`, `--a.list[0] value`."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

import attrs
import click

from oumi_core.configs import InferenceConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["take_overrides"]

_FIRST_KEY = re.compile(r"[^.\[]*")


def take_overrides(context: click.Context) -> list[tuple[str, str]]:
    """The options that the command does not know, as pairs of a dotted path and a text.

    Raises:
        click.UsageError: an argument is no option, an option has no value, or a name without a
            dot is neither an option nor a key of the config. A dotted path is checked when the
            config is loaded.
    """
    rest: Sequence[str] = context.args
    pairs: list[tuple[str, str]] = []
    at = 0
    while at < len(rest):
        option, equals, value = rest[at].partition("=")
        at += 1
        _check(option, context)
        if not equals:
            if at == len(rest) or rest[at].startswith("--"):
                raise click.UsageError(f"{option} needs a value: {option} VALUE", context)
            value = rest[at]
            at += 1
        pairs.append((option.removeprefix("--"), value))
    return pairs


def _check(option: str, context: click.Context) -> None:
    if not option.startswith("--"):
        raise click.UsageError(
            f"'{option}' is neither an option nor the value of one; "
            "the input is given by --input_path, one question by --prompt",
            context,
        )
    path = option.removeprefix("--")
    keys = [field.name for field in attrs.fields(InferenceConfig)]
    if path in keys or _FIRST_KEY.match(path)[0] != path:  # type: ignore[index]  # always matches
        return
    options = [name for param in context.command.params for name in param.opts]
    near = get_close_matches(option, [*options, *(f"--{key}" for key in keys)], n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise click.UsageError(f"there is no option {option}{hint}", context)

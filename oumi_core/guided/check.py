"""Checks an answer's text against its constraint, whoever enforced it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from oumi_core.errors import ConfigError
from oumi_core.guided.constraint import Choice, Constraint, JsonSchema, Regex
from oumi_core.guided.json_check import faults_under
from oumi_core.guided.patterns import Pattern, UndecidedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Accepted", "Fault", "checker_for"]

_SHOWN = 200
"""Characters of a fault that are shown; a schema's fault may quote a whole answer."""


@attrs.frozen
class Accepted:
    """The answer fits.

    Attributes:
        parsed: its value; see `Result.parsed`.
        checked: False where the answer could not be checked and is taken as it is.
    """

    parsed: Any
    checked: bool = True


@attrs.frozen
class Fault:
    """The answer does not fit.

    Attributes:
        reason: where and why, in words that help a person, or a model that is asked again.
    """

    reason: str


def checker_for(constraint: Constraint) -> Callable[[str], Accepted | Fault]:
    """A function that checks answers against `constraint`; made once, called for every row.

    A grammar is checked where llguidance is installed (the extra `grammar`), else accepted with
    `checked=False`.

    Raises:
        ConfigError: the grammar is not one.
    """
    if isinstance(constraint, JsonSchema):
        return _json_checker(constraint)
    if isinstance(constraint, Regex):
        return _regex_checker(constraint.pattern)
    if isinstance(constraint, Choice):
        return _choice_checker(constraint.options)
    return _grammar_checker(constraint.text)


def _json_checker(constraint: JsonSchema) -> Callable[[str], Accepted | Fault]:
    faults = faults_under(constraint.schema)

    def check(text: str) -> Accepted | Fault:
        try:
            value = msgspec.json.decode(text)
            fault = next(faults(value), None)
        except _NO_VERDICT as error:
            return Fault(_in_words(error))
        if fault is not None:
            where = "/".join(str(part) for part in fault.absolute_path)
            return Fault(f"does not fit the schema at /{where}: {fault.message[:_SHOWN]}")
        return _as_class(value, text, constraint.type)

    return check


def _as_class(value: Any, text: str, cls: type[Any] | None) -> Accepted | Fault:
    if cls is None:
        return Accepted(value)
    try:
        if hasattr(cls, "model_validate_json"):
            return Accepted(cls.model_validate_json(text))
        return Accepted(msgspec.convert(value, cls))
    except ValueError as error:  # pydantic's and msgspec's ValidationError are both ValueErrors
        return Fault(f"does not make a {cls.__name__}: {str(error)[:_SHOWN]}")
    except Exception as error:  # noqa: BLE001 - the class is the user's: its validators raise what they like
        what = f"{type(error).__name__}: {error}"
        return Fault(f"does not make a {cls.__name__}: {what[:_SHOWN]}")


_NO_VERDICT = (
    msgspec.DecodeError,
    OverflowError,  # `multipleOf` of a fraction, and 400 digits
    RecursionError,
    UndecidedError,
    UnicodeEncodeError,
)
"""What a check raises for some texts. They are the model's words, so that the row fails by them."""


def _in_words(error: Exception) -> str:
    match error:
        case msgspec.DecodeError():
            words = f"is not JSON: {error}"
        case RecursionError():
            words = "is nested too deeply to be checked"
        case UndecidedError():
            words = f"could not be matched against the regular expression: {error}"
        case UnicodeEncodeError():
            words = f"holds half a character, a lone surrogate, at character {error.start}"
        case _:
            words = f"holds a number that cannot be checked: {error}"
    return words


def _regex_checker(pattern: str) -> Callable[[str], Accepted | Fault]:
    compiled = Pattern(pattern)

    def check(text: str) -> Accepted | Fault:
        try:
            if compiled.fullmatch(text):
                return Accepted(text)
        except UndecidedError as error:
            return Fault(_in_words(error))
        return Fault(f"does not match the regex {pattern!r}"[:_SHOWN])

    return check


def _choice_checker(options: tuple[str, ...]) -> Callable[[str], Accepted | Fault]:
    allowed = frozenset(options)

    def check(text: str) -> Accepted | Fault:
        if text in allowed:
            return Accepted(text)
        return Fault(f"is not one of {list(options)}"[:_SHOWN])

    return check


def _grammar_checker(gbnf: str) -> Callable[[str], Accepted | Fault]:
    try:
        # Import on use: it comes with the extra `grammar`.
        from llguidance import LLMatcher, LLTokenizer  # noqa: PLC0415
        from llguidance.gbnf_to_lark import gbnf_to_lark  # noqa: PLC0415
    except ImportError:
        return lambda text: Accepted(text, checked=False)

    where = "generation.guided_decoding.grammar"
    try:
        grammar = LLMatcher.grammar_from_lark(gbnf_to_lark(gbnf))
    except Exception as error:  # llguidance raises this very class where a rule is missing
        raise ConfigError(f"{where}: not a grammar in GBNF: {error}") from error
    tokenizer = LLTokenizer("byte")  # a token a byte: the check needs no model's tokenizer
    fresh = LLMatcher(tokenizer, grammar)
    if fresh.is_error():
        raise ConfigError(f"{where}: not a grammar in GBNF: {fresh.get_error()}")

    def check(text: str) -> Accepted | Fault:
        # A copy a check: a matcher has a state, and checks may come from more than one thread.
        # Measured: a copy costs 0.5 us, a check of 4 characters after a `reset` 65 us.
        matcher = fresh.deep_copy()
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            return Fault(_in_words(error))
        taken = matcher.try_consume_tokens(list(data))
        if taken < len(data):
            at = len(data[:taken].decode(errors="ignore"))
            return Fault(f"leaves the grammar at character {at}")
        return Accepted(text) if matcher.is_accepting() else Fault("ends before the grammar does")

    return check

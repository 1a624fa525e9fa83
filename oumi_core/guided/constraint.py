"""What an answer must fit: one frozen class a kind, made from `GuidedDecodingParams`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import msgspec

from oumi_core.errors import ConfigError
from oumi_core.guided.schema_check import check_schema

if TYPE_CHECKING:
    from oumi_core.configs import GuidedDecodingParams

__all__ = ["Choice", "Constraint", "Grammar", "JsonSchema", "Regex", "constraint_of"]

_WHERE = "generation.guided_decoding"


@attrs.frozen
class JsonSchema:
    """The answer is JSON that is valid under a schema.

    Attributes:
        schema: a JSON Schema; draft 2020-12 unless it names another in `$schema`.
        name: what a provider is told to call it; letters, digits, `_` and `-`.
        strict: ask the provider for its strict mode, where it has one.
        type: the class to make of the parsed answer (pydantic, attrs or dataclass); None for
            plain dicts and lists.
    """

    kind: ClassVar[str] = "json"
    schema: dict[str, Any] | bool
    name: str = "Response"
    strict: bool = False
    type: type[Any] | None = None


@attrs.frozen
class Regex:
    """The whole answer matches a regular expression of Python's `re`."""

    kind: ClassVar[str] = "regex"
    pattern: str


@attrs.frozen
class Choice:
    """The answer is exactly one of some texts."""

    kind: ClassVar[str] = "choice"
    options: tuple[str, ...]


@attrs.frozen
class Grammar:
    """The answer is derived from the rule `root` of a grammar in GBNF, llama.cpp's notation."""

    kind: ClassVar[str] = "grammar"
    text: str


Constraint = JsonSchema | Regex | Choice | Grammar


def constraint_of(params: GuidedDecodingParams) -> Constraint:
    """The constraint that a config asks for.

    Raises:
        ConfigError: the schema is not one, or cannot be had from the class that was given.
    """
    if params.json is not None:
        return _json_schema(params.json, strict=params.strict)
    if params.regex is not None:
        return Regex(params.regex)
    if params.choice is not None:
        return Choice(tuple(params.choice))
    if params.grammar is not None:
        return Grammar(params.grammar)
    raise ConfigError(f"{_WHERE}: give one of json, regex, choice, grammar")


def _json_schema(source: Any, *, strict: bool) -> JsonSchema:
    if isinstance(source, type):
        constraint = JsonSchema(_schema_of_class(source), source.__name__, strict, source)
    else:
        schema: dict[str, Any] | bool = _decoded(source) if isinstance(source, str) else source
        title = schema.get("title") if isinstance(schema, dict) else None
        constraint = JsonSchema(schema, _provider_name(title), strict)
    check_schema(constraint.schema)
    return constraint


def _decoded(text: str) -> dict[str, Any] | bool:
    try:
        schema: dict[str, Any] | bool = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise ConfigError(f"{_WHERE}.json: not JSON: {error}") from error
    return schema


def _schema_of_class(source: type[Any]) -> dict[str, Any]:
    try:
        if hasattr(source, "model_json_schema"):
            schema: dict[str, Any] = source.model_json_schema()
            return schema
        if attrs.has(source) or dataclasses.is_dataclass(source):
            return msgspec.json.schema(source)
    except Exception as error:  # the class is the user's, and pydantic's errors have no common root
        raise ConfigError(
            f"{_WHERE}.json: {source.__name__} has no JSON Schema: {type(error).__name__}: {error}"
        ) from error
    raise ConfigError(
        f"{_WHERE}.json: {source.__name__} is no pydantic, attrs or dataclass class; "
        "give one of these, a schema, or its JSON text"
    )


def _provider_name(title: Any) -> str:
    """A schema's title as providers allow names: 64 letters, digits, `_` and `-`."""
    if not isinstance(title, str):
        return "Response"
    name = "".join(char if char.isascii() and char.isalnum() else "_" for char in title)
    return name[:64] or "Response"

"""In what a server differs from others, as data: `quirks` of a provider or of `engine_args`."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.configs import GenerationParams
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from oumi_core.wire import Dialect

__all__ = ["Quirks", "header_faults", "read_quirks"]


def _names(values: Iterable[str]) -> frozenset[str]:
    return frozenset(values)


@attrs.frozen
class Quirks:
    """What a server does otherwise. The defaults are those of a server without quirks.

    Attributes:
        max_tokens_field: the field of the body that holds `max_new_tokens`, where it is not the
            engine's own.
        chat_path: the path of chat completions on the host, such as `/chat/completions` for a
            server without `/v1`.
        headers: sent with each request. Not the place of a key.
        api_key_header: the header of the key; in `Authorization` it follows `Bearer `, in
            another (`api-key`) it stands alone.
        reasoning_field: the field in which the reasoning of earlier turns is sent back; not sent
            by default.
        merge_turns: join neighbouring turns of one role, for templates that insist on taking
            turns.
        no_system: the server knows no system messages: they are put before the first message of
            the user.
        stream_usage: streams may be asked for token counts (`stream_options`).
        json_schema: the server enforces `response_format` with a JSON schema. Where it is false,
            constraints are refused before the first row.
        batches: the server has OpenAI's files and batches (`/v1/files`, `/v1/batches`).
        unsupported: fields of `GenerationParams` that the server refuses. They are not sent; a
            row that sets one to other than its default fails.
        extra_body: merged into each body, under the user's own `generation.extra_body`.
    """

    max_tokens_field: str | None = None
    chat_path: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    api_key_header: str = "Authorization"
    reasoning_field: str | None = None
    merge_turns: bool = False
    no_system: bool = False
    stream_usage: bool = True
    json_schema: bool = True
    batches: bool = False
    unsupported: frozenset[str] = attrs.field(default=frozenset(), converter=_names)
    extra_body: Mapping[str, Any] = attrs.field(factory=dict)

    def applied_to(self, dialect: Dialect) -> Dialect:
        """The dialect with these quirks."""
        changes: dict[str, Any] = {}
        if self.max_tokens_field is not None:
            changes["token_limit"] = self.max_tokens_field
        if self.reasoning_field is not None:
            changes["reasoning"] = self.reasoning_field
        if self.merge_turns:
            changes["merge_turns"] = True
        if self.unsupported:
            sent = dialect.generation.items()
            changes["generation"] = {k: v for k, v in sent if k not in self.unsupported}
        return attrs.evolve(dialect, **changes)


def read_quirks(given: Mapping[str, Any], where: str) -> Quirks:
    """Check a table of quirks.

    Args:
        given: as it was written.
        where: the place of the table, for errors.

    Raises:
        ConfigError: lists every name that is unknown and every value that cannot be.
    """
    faults: list[str] = []
    for name, value in given.items():
        check = _CHECKS.get(name)
        if check is None:
            near = difflib.get_close_matches(name, _CHECKS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_CHECKS)}"
            faults.append(f"{where}.{name}: unknown; {hint}")
        else:
            faults.extend(f"{where}.{name}{fault}" for fault in check(value))
    if faults:
        raise ConfigError(*faults)
    return Quirks(**given)


_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_RESERVED = frozenset(
    {"authorization", "content-length", "content-type", "host", "cookie", "transfer-encoding"}
)


def header_faults(value: Any) -> Iterator[str]:
    """What is wrong with a table of headers. Values are not quoted: they may be secrets."""
    if not isinstance(value, dict):
        yield ": must be a table of texts"
        return
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            yield f": {name!r} is no name of a header"
        elif name.lower() in _RESERVED:
            yield f".{name}: is set by the engine; a key goes into remote_params.api_key"
        elif not isinstance(text, str) or not text.isprintable():
            yield f".{name}: must be a text of one line"


def _text_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not value:
        yield ": must be a text that is not empty"


def _name_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        yield ": must be the name of a header"


def _path_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not re.fullmatch(r"/[^\s?#]+", value):
        yield ": must be a path that starts with '/', without a query"


def _boolean_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, bool):
        yield ": must be true or false"


def _table_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield ": must be a table"


def _generation_faults(value: Any) -> Iterator[str]:
    known = [field.name for field in attrs.fields(GenerationParams) if field.init]
    if not isinstance(value, list):
        yield f": must be a list of fields of generation ({', '.join(known)})"
        return
    for name in value:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            yield f": {name!r} is no field of generation" + (
                f"; did you mean {near[0]}?" if near else ""
            )


_CHECKS: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "max_tokens_field": _text_faults,
    "chat_path": _path_faults,
    "headers": header_faults,
    "api_key_header": _name_faults,
    "reasoning_field": _text_faults,
    "merge_turns": _boolean_faults,
    "no_system": _boolean_faults,
    "stream_usage": _boolean_faults,
    "json_schema": _boolean_faults,
    "batches": _boolean_faults,
    "unsupported": _generation_faults,
    "extra_body": _table_faults,
}

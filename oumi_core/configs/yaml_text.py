"""YAML text to plain data and back, remembering on which line everything stands.

It differs from PyYAML's safe loader in two points: a key that stands twice in a mapping is a fault
(PyYAML keeps the last), and `1e-5` is a number, as in YAML 1.2 (PyYAML reads text, because
YAML 1.1 wants `1.0e-5`). Environment variables and `${...}` are left as they stand.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import yaml

__all__ = ["Document", "read", "write"]

_FLOAT_TAG = "tag:yaml.org,2002:float"
_FLOAT_1_2 = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_FLOAT_STARTS = list("-+.0123456789")

# libyaml's composer recurses in C: PyYAML up to 6.0.3 dies at some 100,000 levels. From 6.0.4 on it
# stops at 1,000; its scanner looks up to 1,024 characters ahead, and does so before we count 200.
_MOST_LEVELS = 200
_TOO_DEEP = f"is nested more than {_MOST_LEVELS} levels deep"


@attrs.frozen
class Document:
    """One YAML document.

    Attributes:
        data: its content as plain data; None if there is none.
        repeated: the path of each key that stands in its mapping a second time.
    """

    data: Any
    repeated: Sequence[str]
    _root: yaml.Node | None = attrs.field(repr=False)

    def line(self, keys: Sequence[str]) -> int | None:
        """The line of a key, counted from 1, or of the nearest key above it.

        Args:
            keys: the keys from the root down; a list's index as decimal digits.

        Returns:
            The line; None if not even the first key stands in the text.
        """
        import yaml  # noqa: PLC0415 - import on use: only configs that are read need it

        node, found = self._root, None
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                pairs = [(name, value) for name, value in node.value if name.value == key]
            elif isinstance(node, yaml.SequenceNode) and key.isdecimal():
                pairs = [(value, value) for value in node.value[int(key) : int(key) + 1]]
            else:
                break
            if not pairs:
                break
            mark, node = pairs[-1]
            found = mark.start_mark.line + 1
        return found


def read(text: str) -> Document:
    """Parse one YAML document.

    Raises:
        ConfigError: the text is not YAML; says the line and column, and quotes nothing of it.
    """
    import yaml  # noqa: PLC0415 - import on use: only configs that are read need it

    try:
        _refuse_deep_nesting(text)
        loader = _loader()(text)
        try:
            root = loader.get_single_node()
            data = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except ConfigError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"{place}is not YAML: {reason}") from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise ConfigError("is not YAML: it holds a character that YAML does not allow") from error
    except ValueError as error:  # numbers and dates that look right and are not, such as 2024-13-45
        raise ConfigError(f"is not YAML: a value cannot be read: {error}") from error
    except RecursionError as error:  # PyYAML without libyaml recurses in Python
        raise ConfigError("is nested too deeply") from error
    return Document(data, tuple(_repeated(root)), root)


def write(data: Any) -> str:
    """Plain data as YAML text, in the order of the data.

    Raises:
        ConfigError: a text holds a character that YAML does not allow.
    """
    import yaml  # noqa: PLC0415 - import on use: only configs that are written need it

    try:
        text: str = yaml.dump(data, Dumper=_dumper(), sort_keys=False, allow_unicode=True)
    except UnicodeEncodeError as error:
        raise ConfigError("a text holds a character that YAML does not allow") from error
    return text


def _refuse_deep_nesting(text: str) -> None:
    import yaml  # noqa: PLC0415 - import on use: only configs that are read need it

    level = read_to = 0
    try:
        for event in yaml.parse(text, Loader=_loader()):
            read_to = event.end_mark.index if event.end_mark is not None else read_to
            if isinstance(event, yaml.CollectionStartEvent):
                level += 1
                if level > _MOST_LEVELS:
                    raise ConfigError(_TOO_DEEP)
            elif isinstance(event, yaml.CollectionEndEvent):
                level -= 1
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        ahead = "" if mark is None else text[read_to : mark.index]
        if level + _brackets_open(ahead) > _MOST_LEVELS:
            raise ConfigError(_TOO_DEEP) from error
        raise


def _brackets_open(text: str) -> int:
    return sum(text.count(mark) for mark in "[{") - sum(text.count(mark) for mark in "]}")


@functools.cache
def _loader() -> Any:
    import yaml  # noqa: PLC0415 - import on use: only configs that are read need it

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # PyYAML may be built without libyaml
    loader: Any = type("Loader", (base,), {})
    loader.add_implicit_resolver(_FLOAT_TAG, _FLOAT_1_2, _FLOAT_STARTS)
    return loader


@functools.cache
def _dumper() -> Any:
    import yaml  # noqa: PLC0415 - import on use: only configs that are written need it

    base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # PyYAML may be built without libyaml
    dumper: Any = type("Dumper", (base,), {"ignore_aliases": lambda *_: True})
    dumper.add_implicit_resolver(_FLOAT_TAG, _FLOAT_1_2, _FLOAT_STARTS)  # so "1e5" gets quotes
    return dumper


def _repeated(root: yaml.Node | None) -> Iterator[str]:
    import yaml  # noqa: PLC0415 - import on use: only configs that are read need it

    waiting, seen = [(root, "")], set()
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen:  # an alias: its anchor has been looked at
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += [(value, f"{path}[{index}]") for index, value in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            names = set()
            for name, value in node.value:
                if not isinstance(name, yaml.ScalarNode):
                    continue
                where = f"{path}.{name.value}" if path else name.value
                if (name.tag, name.value) in names:
                    yield where
                names.add((name.tag, name.value))
                waiting.append((value, where))

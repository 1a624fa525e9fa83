"""A tool's definition out of a Python function: its type hints and its docstring."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from oumi_core.errors import DataError
from oumi_core.types.tool_call import FunctionDefinition, ToolDefinition

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["tool_from_function"]

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Attributes|Returns?|Yields?|Raises|Examples?|Notes?|Warnings?"
    r"|See Also|References):\s*$"
)
_ARGUMENTS = frozenset({"Args", "Arguments", "Parameters"})
_ARGUMENT = re.compile(r"^(?P<name>\w+)\s*(\(.*?\))?:\s*(?P<text>.*)$")
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def tool_from_function(function: Callable[..., Any]) -> ToolDefinition:
    """Describe a function to a model.

    The name is the function's, the description the docstring up to its first section, the schema
    comes from the type hints, and what `Args:` (Google style) says of each argument goes with it.
    An argument with a default is optional.

    Raises:
        DataError: it has no docstring, an argument without a type hint, one that cannot be given
            by name, or a type that has no JSON Schema.
    """
    if not inspect.isroutine(function) or function.__name__ == "<lambda>":
        raise DataError(f"expected a named function, got {type(function).__name__}")
    name = function.__name__
    docstring = inspect.getdoc(function)
    if not docstring:
        raise DataError(f"function {name}: no docstring; it tells the model when to call it")
    description, about = _read_docstring(docstring)
    try:
        hints = get_type_hints(function, include_extras=True)
        parameters = inspect.signature(function).parameters.values()
    except (NameError, TypeError, ValueError) as error:
        raise DataError(f"function {name}: its signature cannot be read: {error}") from error
    for parameter in parameters:
        if parameter.kind not in _BY_NAME:
            raise DataError(f"function {name}: argument {parameter.name!r} cannot be given by name")
        if parameter.name not in hints:
            raise DataError(f"function {name}: argument {parameter.name!r} needs a type hint")
    schema = _schema(name, list(parameters), hints, about)
    return ToolDefinition(FunctionDefinition(name, description, schema))


def _schema(
    name: str, parameters: list[inspect.Parameter], hints: dict[str, Any], about: dict[str, str]
) -> dict[str, Any]:
    types = [hints[parameter.name] for parameter in parameters]
    try:
        schemas, shared = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    except (TypeError, ValueError) as error:
        raise DataError(f"function {name}: no JSON Schema for its types: {error}") from error
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter, schema in zip(parameters, schemas, strict=True):
        properties[parameter.name] = dict(schema)
        if parameter.name in about:
            properties[parameter.name]["description"] = about[parameter.name]
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
    whole: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    return {**whole, "$defs": shared} if shared else whole


def _read_docstring(docstring: str) -> tuple[str, dict[str, str]]:
    """Split a Google-style docstring into what comes before the sections, and the arguments."""
    description: list[str] = []
    section = ""
    about: dict[str, str] = {}
    current, indent = "", 0
    for line in docstring.splitlines():
        heading = _SECTION.match(line)
        if heading:
            section, current, indent = heading[1], "", 0
        elif not section:
            description.append(line)
        elif section in _ARGUMENTS and line.strip():
            depth = len(line) - len(line.lstrip())
            indent = indent or depth
            argument = _ARGUMENT.match(line.strip()) if depth <= indent else None
            if argument:
                current = argument["name"]
                about[current] = argument["text"]
            elif current:
                about[current] = f"{about[current]} {line.strip()}".strip()
    return "\n".join(description).strip(), about

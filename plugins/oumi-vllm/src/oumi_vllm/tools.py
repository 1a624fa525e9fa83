"""Tool calls: what holds the model to one, and how they are read out of its text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import EngineError
from oumi_core.guided.constraint import JsonSchema
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.tool_call import FunctionCall, ToolCall

if TYPE_CHECKING:
    from oumi_core.engine import Request
    from oumi_core.types.tool_call import ToolDefinition

__all__ = ["ToolUse", "tool_use"]

_AUTO = "auto"
_NONE = "none"
_REQUIRED = "required"


@attrs.frozen
class ToolUse:
    """How one request uses tools.

    Attributes:
        tools: the definitions that the template shows the model, as dicts; none if it must not
            call any.
        parser: the name of the parser that finds calls in free text; None where there is none to
            find, or the answer is itself the call.
        constraint: holds the model to a call, where one is demanded.
        function: the name of the one function that is demanded.
        parallel: keep more than the first call.
    """

    tools: list[dict[str, Any]] | None = None
    parser: str | None = None
    constraint: JsonSchema | None = None
    function: str | None = None
    parallel: bool = True

    def calls_in(self, text: str) -> list[ToolCall]:
        """The calls in an answer that `constraint` has held.

        Raises:
            EngineError: it was cut before its end; `truncated`.
        """
        try:
            found = json.loads(text)
        except ValueError as error:
            reason = "the tool call was cut at generation.max_new_tokens; allow it more tokens"
            raise EngineError(Failure(FailureKind.TRUNCATED, reason)) from error
        if self.function is not None:
            return [_call(0, self.function, found)]
        calls = [
            _call(at, entry["name"], entry.get("parameters", {})) for at, entry in enumerate(found)
        ]
        return calls if self.parallel else calls[:1]


def tool_use(request: Request) -> ToolUse:
    """How a request uses tools; by its tools, `tool_choice` and `model.tool_call_parser`.

    Raises:
        EngineError: a function is demanded that there is not; or a call and another constraint.
    """
    tools = request.conversation.tools
    choice = request.generation.tool_choice
    if choice is None:
        choice = _AUTO
    if not tools:
        if choice in (_AUTO, _NONE):
            return ToolUse()
        raise EngineError.bad_request(
            "generation.tool_choice demands a call, and the row has no tools"
        )
    if choice == _NONE:
        return ToolUse()
    shown = [tool.to_dict() for tool in tools]
    parallel = request.generation.parallel_tool_calls
    if choice == _AUTO:
        return ToolUse(shown, request.model.tool_call_parser, parallel=parallel)
    if request.constraint is not None:
        raise EngineError.bad_request(
            "generation.tool_choice demands a call, and generation.guided_decoding another form "
            "of answer; give one of them"
        )
    if choice == _REQUIRED:
        return ToolUse(shown, constraint=_any_of(tools, parallel=parallel), parallel=parallel)
    return _one(shown, tools, choice["function"]["name"])


def _one(shown: list[dict[str, Any]], tools: list[ToolDefinition], name: str) -> ToolUse:
    for tool in tools:
        if tool.function.name == name:
            return ToolUse(shown, constraint=JsonSchema(_parameters(tool)), function=name)
    known = ", ".join(tool.function.name for tool in tools)
    raise EngineError.bad_request(
        f"generation.tool_choice: the row has no tool {name!r}; it has: {known}"
    )


def _any_of(tools: list[ToolDefinition], *, parallel: bool) -> JsonSchema:
    """A list of calls, as vLLM's server asks for it with `required`."""
    calls: list[dict[str, Any]] = [
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "enum": [tool.function.name]},
                "parameters": _parameters(tool),
            },
            "required": ["name", "parameters"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    schema: dict[str, Any] = {"type": "array", "minItems": 1, "items": {"anyOf": calls}}
    if not parallel:
        schema["maxItems"] = 1
    definitions = {k: v for call in calls for k, v in _definitions(call).items()}
    return JsonSchema({**schema, "$defs": definitions} if definitions else schema)


def _definitions(call: dict[str, Any]) -> dict[str, Any]:
    """Move the definitions that parameters refer to up to the root, where the references look."""
    parameters = dict(call["properties"]["parameters"])
    found: dict[str, Any] = parameters.pop("$defs", {})
    call["properties"]["parameters"] = parameters
    return found


def _parameters(tool: ToolDefinition) -> dict[str, Any]:
    return tool.function.parameters or {"type": "object", "properties": {}}


def _call(at: int, name: str, arguments: Any) -> ToolCall:
    return ToolCall(f"call_{at}", FunctionCall(name, json.dumps(arguments)))

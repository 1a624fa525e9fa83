"""Tools and the calls of them, under Oumi's path."""

from oumi_core.types.tool_call import FunctionCall, FunctionDefinition, ToolCall, ToolDefinition

__all__ = ["FunctionCall", "FunctionDefinition", "ToolCall", "ToolDefinition"]

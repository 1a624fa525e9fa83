"""Conversations, completions, failures and results: the data that all parts share."""

from oumi_core.types.completion import Chunk, Completion, FinishReason, Usage
from oumi_core.types.content import ContentItem, ContentItemCounts, ContentType
from oumi_core.types.conversation import Conversation
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.message import Message, Role
from oumi_core.types.result import Result
from oumi_core.types.tool_call import FunctionCall, FunctionDefinition, ToolCall, ToolDefinition

__all__ = [
    "Chunk",
    "Completion",
    "ContentItem",
    "ContentItemCounts",
    "ContentType",
    "Conversation",
    "Failure",
    "FailureKind",
    "FinishReason",
    "FunctionCall",
    "FunctionDefinition",
    "Message",
    "Result",
    "Role",
    "ToolCall",
    "ToolDefinition",
    "Usage",
]

"""Conversations in files: the row shapes that are understood, and JSONL in and out."""

from oumi_core.data.jsonl import (
    check_conversations,
    conversation_line,
    parse_conversations,
    read_conversations,
)
from oumi_core.data.rows import conversation_from_row

__all__ = [
    "check_conversations",
    "conversation_from_row",
    "conversation_line",
    "parse_conversations",
    "read_conversations",
]

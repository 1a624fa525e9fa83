"""Conversations and tool calls, under Oumi's paths."""

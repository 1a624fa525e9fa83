"""Configs and types, under Oumi's paths."""

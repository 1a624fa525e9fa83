"""GGUF models in this process, by llama.cpp: an engine for oumi-core."""

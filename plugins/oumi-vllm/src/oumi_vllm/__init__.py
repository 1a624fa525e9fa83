"""vLLM in this process: an engine for oumi-core."""

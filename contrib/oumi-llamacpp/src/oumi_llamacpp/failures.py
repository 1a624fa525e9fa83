"""llama.cpp's errors as failures."""

from __future__ import annotations

from typing import Any

from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import failure_from_error

__all__ = ["raise_if_error"]


def raise_if_error(chunk: Any) -> None:
    """Raise what a chunk reports instead of a piece of the answer.

    Raises:
        EngineError: the chunk is an error.
    """
    if not isinstance(chunk, dict) or not chunk.get("error"):
        return
    error = chunk["error"]
    if isinstance(error, dict) and error.get("type") == "exceed_context_size_error":
        raise EngineError(
            Failure(
                FailureKind.BAD_REQUEST,
                f"the prompt of {error.get('n_prompt_tokens')} tokens is longer than the context "
                f"of a request, {error.get('n_ctx')} tokens; shorten it, or raise "
                "model.model_max_length if the model allows it",
                status=400,
                code="exceed_context_size_error",
            )
        )
    raise EngineError(failure_from_error(None, chunk))

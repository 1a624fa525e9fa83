"""vLLM's worker for the CPU, in which a seed outlives a prompt that is read in parts.

vLLM draws a token after each part of a prompt, throws away all but the last, and for those turns
the row's random generator back. On a CPU a generator of torch's cannot be turned back: the worker
dies of it, and with it the engine (seen from 0.12 to 0.33). Here the generator is laid aside while
such a token is drawn, so that there is nothing to turn back.

Loaded by vLLM alone, by the name in its argument `worker_cls`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from vllm.v1.worker import cpu_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CPUWorker"]


class CPUWorker(cpu_worker.CPUWorker):  # type: ignore[misc]  # vLLM is not there where types are checked
    """vLLM's own in all else."""

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Draw a token for each row of the batch."""
        with _unread_laid_aside(self.model_runner):
            return super().sample_tokens(grammar_output)


@contextlib.contextmanager
def _unread_laid_aside(runner: Any) -> Iterator[None]:
    """Take the generators of rows whose prompt is not read to its end out of the batch."""
    generators: dict[int, Any] = runner.input_batch.generators
    unread = runner.discard_request_mask.np
    aside = {row: generators.pop(row) for row in [*generators] if unread[row]}
    try:
        yield
    finally:
        generators.update(aside)

"""vLLM's worker for the CPU, in which a seed outlives a prompt that is read in parts.

vLLM draws a token after each part of a prompt, throws away all but the last, and for those turns
the row's random generator back. On a CPU a generator of torch's cannot be turned back: the worker
dies of it, and with it the engine (seen from 0.12 to 0.33). Here such a token is drawn with another
generator, so that there is nothing to turn back.

Loaded by vLLM alone, by the name in its argument `worker_cls`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from vllm.v1.worker import cpu_worker

from oumi_vllm import library

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CPUWorker"]


class _Spare(torch.Generator):  # type: ignore[misc]  # torch is not there where types are checked
    """Draws what no seed decides; to turn it back changes nothing."""

    def get_offset(self) -> int:
        return 0

    def set_offset(self, offset: int) -> torch.Generator:  # noqa: ARG002 - torch's signature
        return self


class CPUWorker(cpu_worker.CPUWorker):  # type: ignore[misc]  # vLLM is not there where types are checked
    """vLLM's own in all else."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """As vLLM's."""
        super().__init__(*arguments, **named)
        self._spare = _Spare()
        # As vLLM seeds all its workers: what several of them draw must be the same.
        self._spare.manual_seed(self.vllm_config.model_config.seed or 0)

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Draw a token for each row of the batch."""
        with _only_read_rows_seeded(self.model_runner, self._spare):
            return super().sample_tokens(grammar_output)


@contextlib.contextmanager
def _only_read_rows_seeded(runner: Any, spare: _Spare) -> Iterator[None]:
    """Lend the spare generator to rows whose prompt is not read to its end.

    And to those without a seed, where vLLM heeds seeds only if all rows of a step have one.
    """
    generators: dict[int, Any] = runner.input_batch.generators
    unread = runner.discard_request_mask.np
    rows: Iterable[int] = list(generators)
    if generators and not library.heeds_each_seed():
        rows = range(runner.input_batch.num_reqs)
    lent = [row for row in rows if row not in generators or unread[row]]
    own = {row: generators[row] for row in lent if row in generators}
    generators.update(dict.fromkeys(lent, spare))
    try:
        yield
    finally:
        for row in lent:
            del generators[row]
        generators.update(own)

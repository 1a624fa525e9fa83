"""Batches that outlive the process: what a backend is, and what core does with any of them.

The names below are for who writes a backend, and for who looks at a batch; the batches themselves
are calls of `oumi_core.InferenceEngine`.
"""

from oumi_core.batching.backend import BatchBackend, Batching, BatchJob, BatchLimits, Part
from oumi_core.batching.leave import next_request
from oumi_core.batching.status import (
    BatchError,
    BatchInfo,
    BatchListResponse,
    BatchStatus,
    PartStatus,
    RequestCounts,
    as_status,
)

__all__ = [
    "BatchBackend",
    "BatchError",
    "BatchInfo",
    "BatchJob",
    "BatchLimits",
    "BatchListResponse",
    "BatchStatus",
    "Batching",
    "Part",
    "PartStatus",
    "RequestCounts",
    "as_status",
    "next_request",
]

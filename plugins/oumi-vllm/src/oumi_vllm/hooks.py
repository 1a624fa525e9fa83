"""What this distribution offers to oumi-core: the engine `vllm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oumi_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_core.hookspecs import LazyReference

__all__ = ["oumi_engines"]


@hookimpl
def oumi_engines() -> Mapping[str, LazyReference]:
    """`vllm`: vLLM in this process."""
    return {"vllm": "oumi_vllm.engine:VLLMEngine"}

"""The plugin module of oumi-core itself: what is built in arrives by the hooks of any plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oumi_core.hookspecs import hookimpl
from oumi_core.plugin_names import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_core.hookspecs import LazyReference

__all__ = [
    "oumi_batch_backends",
    "oumi_engines",
    "oumi_guided_decoders",
    "oumi_retry_policies",
]


@hookimpl
def oumi_engines() -> Mapping[str, LazyReference]:
    """`echo`: answers with the last user message, for tests and dry runs."""
    return BUILT_IN["oumi.engines"]


@hookimpl
def oumi_guided_decoders() -> Mapping[str, LazyReference]:
    """`native`: the engine enforces, core checks. `reask`: prompt, check, ask again."""
    return BUILT_IN["oumi.guided_decoding"]


@hookimpl
def oumi_batch_backends() -> Mapping[str, LazyReference]:
    """`provider`: the engine's own batch API. `local`: a queue on this machine, for any engine."""
    return BUILT_IN["oumi.batching"]


@hookimpl
def oumi_retry_policies() -> Mapping[str, LazyReference]:
    """`standard`: one for servers of all kinds. `none`: nothing is sent twice."""
    return BUILT_IN["oumi.retry_policies"]

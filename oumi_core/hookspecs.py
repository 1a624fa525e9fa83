"""The hooks by which a plugin says what it offers. One module may implement any of them.

A plugin is a distribution with an entry point:

    [project.entry-points."oumi.engines"]
    acme = "oumi_acme.hooks"

The entry point's *name* is the name that users write; its *value* is a module that imports
nothing heavy and implements the hook of that group:

    from oumi_core.hookspecs import hookimpl

    @hookimpl
    def oumi_engines():
        return {"acme": "oumi_acme.engine:AcmeEngine"}

Each hook takes no arguments and returns a mapping of names to lazy references: a class, or a
string `"module:Class"` that is imported only when that name is asked for. It must hold the name of
the entry point; it may hold more. A module that serves several names or kinds is registered once.

`oumi engines --check` and `python -m oumi_core.probe engine acme` load a plugin in a process of its
own and say what is wrong with it, functions marked `@hookimpl` that no hook is named like included.

An engine that is only another server with the chat-completions API needs no module: see
`oumi_core.providers`.

Hooks are only ever added to: an implementation that takes fewer arguments than a later version of
its specification goes on working. What an implementation's *class* must look like is versioned by
its `contract` attribute instead (see `oumi_core.engine.Engine`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PROJECT",
    "LazyReference",
    "hookimpl",
    "hookspec",
    "oumi_batch_backends",
    "oumi_engines",
    "oumi_guided_decoders",
    "oumi_retry_policies",
]

PROJECT = "oumi"
"""The pluggy project name that specifications and implementations share."""

LazyReference = type[Any] | str
"""A class, or `"package.module:Class"`."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def oumi_engines() -> Mapping[str, LazyReference]:  # type: ignore[empty-body]
    """Offer engines: subclasses of `oumi_core.engine.Engine`.

    Group `oumi.engines`; chosen by `get_engine(name)`, `engine:` in a config and `--engine`.
    Called when one of the module's names is asked for, not when engines are listed.
    """


@hookspec
def oumi_guided_decoders() -> Mapping[str, LazyReference]:  # type: ignore[empty-body]
    """Offer ways to make answers fit a constraint: `oumi_core.guided.decoder.Decoder`.

    Group `oumi.guided_decoding`; chosen by `generation.guided_decoding.backend`.
    """


@hookspec
def oumi_batch_backends() -> Mapping[str, LazyReference]:  # type: ignore[empty-body]
    """Offer ways to run a batch that outlives the process.

    Group `oumi.batching`; chosen by `batching:`.
    """


@hookspec
def oumi_retry_policies() -> Mapping[str, LazyReference]:  # type: ignore[empty-body]
    """Offer policies that decide what follows a failure.

    Group `oumi.retry_policies`; chosen by `remote_params.retry_policy`.
    """

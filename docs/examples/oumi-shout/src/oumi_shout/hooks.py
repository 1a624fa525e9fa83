"""What this distribution offers to oumi-core. Imports nothing heavy."""

from collections.abc import Mapping

from oumi_core.hookspecs import LazyReference, hookimpl


@hookimpl
def oumi_engines() -> Mapping[str, LazyReference]:
    """The engine `shout`."""
    return {"shout": "oumi_shout.engine:ShoutEngine"}

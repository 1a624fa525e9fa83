"""The backend `native`: the engine enforces the constraint while it decodes, core checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oumi_core.guided.decoder import Decoder, Refusal

if TYPE_CHECKING:
    from oumi_core.engine import Capabilities, Request

__all__ = ["NativeDecoder"]


class NativeDecoder(Decoder):
    """Leaves it to the engine, and refuses where the engine does not enforce that kind."""

    def prepare(self, request: Request, capabilities: Capabilities) -> Request | Refusal:
        """The request as it is, if the engine enforces this kind of constraint."""
        kind = self.constraint.kind
        if kind in capabilities.guided:
            return request
        enforced = ", ".join(sorted(capabilities.guided)) or "none"
        return Refusal(
            f"this engine does not enforce the constraint {kind!r} (it enforces: {enforced}); "
            "choose another engine or constraint, or generation.guided_decoding.backend: reask"
        )

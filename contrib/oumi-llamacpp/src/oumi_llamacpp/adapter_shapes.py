"""Checks that a LoRA adapter was made for the model that it is put on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_llamacpp.gguf_header import GGUFHeader, Shape

__all__ = ["check_shapes"]

_WHERE = "model.adapter_model"


def check_shapes(
    adapter: object, factors: Mapping[str, tuple[Shape, Shape]], base: GGUFHeader
) -> None:
    """Check each pair of factors against the weight of the model that it changes.

    Args:
        adapter: what to call the adapter in a message: its file or folder.
        factors: the weight's name in GGUF -> the shapes of A (features to rank) and B (rank to
            features), the innermost dimension first.
        base: the model.

    Raises:
        ConfigError: a weight is missing in the model, or is of another shape.
    """
    if not factors:
        raise ConfigError(f"{_WHERE}: {adapter} holds no LoRA weights")
    for name, (a, b) in factors.items():
        weight = base.tensors.get(name)
        if weight is None:
            raise ConfigError(
                f"{_WHERE}: {adapter} changes {name}, which the model {base.path} does not have; "
                "it was made for another model"
            )
        if (a[0], b[-1]) != (weight[0], weight[-1]) or a[-1] != b[0]:
            raise ConfigError(
                f"{_WHERE}: the adapter {adapter} is of another shape than the model {base.path}: "
                f"for {name} the model has {_product(weight[0], weight[-1])} and the adapter "
                f"{_product(a[0], b[-1])} (rank {a[-1]} and {b[0]}); it was made for another model"
            )


def _product(features_in: int, features_out: int) -> str:
    return f"{features_in} x {features_out}"

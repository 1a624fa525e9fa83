"""`ModelParams`: which model, in which form."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar, cast

import attrs

from oumi_core.configs.checks import boolean, integer, items, mapping, optional, text
from oumi_core.configs.params import CHECK, Params, own, param, params_fields

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

__all__ = ["ModelParams"]

_DTYPES = {
    "auto": "auto",
    **dict.fromkeys(("float32", "f32", "float"), "float32"),
    **dict.fromkeys(("float16", "f16", "half"), "float16"),
    **dict.fromkeys(("bfloat16", "bf16"), "bfloat16"),
    **dict.fromkeys(("float64", "f64", "double"), "float64"),
}


def _as_text(value: str | os.PathLike[str]) -> str:
    return cast("str", own(value))


@attrs.frozen
class ModelParams(Params):
    """Which model answers, with which adapter, tokenizer, precision and template.

    Making one looks at neither network nor disk. Fields "for training" are Oumi's, are kept so
    that its files load, and change nothing here.

    Attributes:
        model_name: the model: a Hugging Face repository, a folder or file, or the provider's name
            of it. Required.
        adapter_model: a LoRA adapter on top of it: a repository, folder or file. Default: none.
        tokenizer_name: another tokenizer than the model's. Engines that load one.
        tokenizer_pad_token: a pad token for a tokenizer without one. Engines that load one.
        tokenizer_kwargs: passed to the tokenizer's loader. Engines that load one.
        processor_kwargs: passed to the processor's loader (images); no names of other fields of
            this section. Engines that load one.
        model_max_length: tokens of prompt and answer together, at least 1; the model's own limit
            if null. Engines that load the model.
        load_pretrained_weights: for training; default true.
        trust_remote_code: lets the model's repository run its own Python code here; default
            false. Engines that load the model with Python.
        torch_dtype_str: precision of the weights: auto (the default: as stored), float32 (f32,
            float), float16 (f16, half), bfloat16 (bf16) or float64 (f64, double). Engines that
            load the model. `torch_dtype` is the same field by another name.
        compile: compile the model with torch; default false. The transformers engine.
        chat_template: a template's name, or `auto` for the tokenizer's own; the same if null.
            Engines that apply the template themselves.
        chat_template_kwargs: variables for the template, such as `enable_thinking`. vLLM.
        attn_implementation: how attention is computed (sdpa, flash_attention_2, eager, or a
            kernel's repository). Engines that load the model with torch.
        device_map: where the weights go; default `auto`. The transformers engine.
        model_kwargs: passed to the model's loader, such as `filename` of a GGUF. `revision` in it
            is an old way to say `model_revision`.
        enable_liger_kernel: for training; default false.
        shard_for_eval: spread the model over all devices; default false. The transformers engine.
        freeze_layers: for training; default none.
        model_revision: a branch, tag or commit of the model's repository; its default branch if
            null. Engines that fetch the model.
        tool_call_parser: how tool calls are read from the answer's text. vLLM.
        torch_dtype: another name of `torch_dtype_str`. Both may be given only if they agree or
            `torch_dtype_str` is auto. As an attribute it is the precision in its long spelling.

    Raises:
        ConfigError: lists every fault.
    """

    synonyms: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "torch_dtype": ("torch_dtype_str",),
        "torch_dtype_str": ("torch_dtype",),
    }

    # Two fields are no `param`, because type checkers read defaults and aliases only from a
    # literal `attrs.field`.
    model_name: str = attrs.field(converter=_as_text, metadata={CHECK: text()})
    adapter_model: str | None = param(optional(text()), None)
    tokenizer_name: str | None = param(optional(text()), None)
    tokenizer_pad_token: str | None = param(optional(text()), None)
    tokenizer_kwargs: dict[str, Any] = param(mapping(), factory=dict)
    processor_kwargs: dict[str, Any] = param(mapping(), factory=dict)
    model_max_length: int | None = param(optional(integer(1)), None)
    load_pretrained_weights: bool = param(boolean(), default=True)
    trust_remote_code: bool = param(boolean(), default=False)
    torch_dtype_str: str = param(text(choices=_DTYPES), "auto")
    compile: bool = param(boolean(), default=False)
    chat_template: str | None = param(optional(text()), None)
    chat_template_kwargs: dict[str, Any] | None = param(optional(mapping()), None)
    attn_implementation: str | None = param(optional(text()), None)
    device_map: str | None = param(optional(text()), "auto")
    model_kwargs: dict[str, Any] = param(mapping(), factory=dict)
    enable_liger_kernel: bool = param(boolean(), default=False)
    shard_for_eval: bool = param(boolean(), default=False)
    freeze_layers: list[str] = param(items(text()), factory=list)
    model_revision: str | None = param(optional(text()), None)
    tool_call_parser: str | None = param(optional(text()), None)
    # Only the constructor's second name of `torch_dtype_str`: null again once it is made, so that
    # `attrs.evolve(params, torch_dtype_str=...)` does not meet the value of before.
    _other_dtype: str | None = attrs.field(
        default=None,
        alias="torch_dtype",
        repr=False,
        metadata={CHECK: optional(text(choices=_DTYPES))},
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self._other_dtype is not None:
            object.__setattr__(self, "torch_dtype_str", self._other_dtype)
            object.__setattr__(self, "_other_dtype", None)
        if "revision" in self.model_kwargs:
            warnings.warn(
                "model_kwargs.revision is deprecated: write model_revision",
                DeprecationWarning,
                stacklevel=3,  # the caller of the generated __init__
            )
            object.__setattr__(self, "model_revision", self.model_kwargs.pop("revision"))

    @property
    def torch_dtype(self) -> str:
        """The precision in its long spelling: auto, float32, float16, bfloat16 or float64."""
        return _DTYPES[self.torch_dtype_str]

    def _relations(self, broken: AbstractSet[str]) -> Iterator[str]:
        if not broken & {"torch_dtype", "torch_dtype_str"}:
            yield from self._dtype_faults()
        if "processor_kwargs" not in broken:
            reserved = self.processor_kwargs.keys() & params_fields(ModelParams).keys()
            for name in sorted(reserved):
                yield f"processor_kwargs.{name}: is a field of its own: write it one level up"
        if "model_kwargs" not in broken and "revision" in self.model_kwargs:
            yield from self._revision_faults()

    def _dtype_faults(self) -> Iterator[str]:
        given = {self.torch_dtype_str, self._other_dtype} - {"auto", None}
        if self._other_dtype is not None and len({_DTYPES[str(name)] for name in given}) > 1:
            yield (
                f"torch_dtype: is {self._other_dtype!r} but torch_dtype_str, the same field by "
                f"another name, is {self.torch_dtype_str!r}; give one"
            )

    def _revision_faults(self) -> Iterator[str]:
        revision = self.model_kwargs["revision"]
        for _, message in optional(text()).find(revision):
            yield f"model_kwargs.revision: {message}"
        if self.model_revision is not None and self.model_revision != revision:
            yield "model_kwargs.revision: differs from model_revision; give model_revision only"

"""Single fields given by name, as `get_engine` takes them: each finds its own section."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.configs.budget_params import BudgetParams
from oumi_core.configs.generation_params import GenerationParams
from oumi_core.configs.guided_decoding_params import GuidedDecodingParams
from oumi_core.configs.inference_config import InferenceConfig
from oumi_core.configs.model_params import ModelParams
from oumi_core.configs.params import Params, params_fields
from oumi_core.configs.remote_params import RemoteParams
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["with_fields"]

_SECTIONS: Mapping[str, type[Params]] = {
    "model": ModelParams,
    "generation": GenerationParams,
    "remote_params": RemoteParams,
    "budget": BudgetParams,
}
_CONSTRAINT = ("json", "regex", "choice", "grammar", "strict", "backend", "max_reasks")


def with_fields(config: InferenceConfig, fields: Mapping[str, Any]) -> InferenceConfig:
    """`config` with single fields replaced; the rest of each section stays.

    A name is looked for in `InferenceConfig` first, then in its sections and in
    `GuidedDecodingParams`. `model` may be the model's name.

    Raises:
        ConfigError: a name is in no section (the nearest is named), or a value is out of range.
    """
    top: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    guided: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "model" and isinstance(value, str):
            inner.setdefault("model", {})["model_name"] = value
        elif name in params_fields(InferenceConfig):
            top[name] = value
        elif name in _CONSTRAINT:
            guided[name] = value
        else:
            section = _section_of(name)
            params = _SECTIONS[section]
            for twin in params.synonyms.get(name, ()):  # what was given by it is replaced, too
                inner.setdefault(section, {})[twin] = params_fields(params)[twin].default
            inner.setdefault(section, {})[name] = value
    if guided:
        inner.setdefault("generation", {})["guided_decoding"] = GuidedDecodingParams(**guided)
    for section, values in inner.items():
        current = top.get(section) or getattr(config, section)
        top[section] = attrs.evolve(current, **values) if current else _SECTIONS[section](**values)
    return attrs.evolve(config, **top)


def _section_of(name: str) -> str:
    for section, params in _SECTIONS.items():
        if name in params_fields(params):
            return section
    known = [
        *params_fields(InferenceConfig),
        *_CONSTRAINT,
        *(field for params in _SECTIONS.values() for field in params_fields(params)),
    ]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"{name}: not a field of any params class{hint}")

"""`InferenceConfig`: all that an inference job says, as one value."""

from __future__ import annotations

from typing import Any

import attrs

from oumi_core.configs.checks import integer, mapping, optional, path, section, text
from oumi_core.configs.generation_params import GenerationParams
from oumi_core.configs.model_params import ModelParams
from oumi_core.configs.params import Params, param, params_fields
from oumi_core.configs.remote_params import RemoteParams

__all__ = ["InferenceConfig"]


@attrs.frozen
class InferenceConfig(Params):
    """What to run, on which engine, from where to where.

    Everything may be left out: what a config does not give is null, and is taken from the config
    below it (see `over`), else from the engine.

    Attributes:
        model: which model answers.
        generation: how answers are generated.
        input_path: a JSONL file of conversations to answer.
        output_path: the JSONL file for the answers.
        progress_path: a JSON file that is kept up to date with the run's progress.
        engine: the name of the engine, in any case, with `-` or `_`; kept as written.
        remote_params: where a server is and how to treat it. Engines that call one.
        num_workers: requests in flight, at least 1; wins over `remote_params.num_workers`.
        engine_args: arguments for the library under the engine; default none.
        batching: where a batch runs: `provider`, `local`, `auto` (the provider's if it has one),
            or a plugin's name.
        on_unsupported: what follows a generation parameter that the engine does not honour:
            `warn` (said once and counted; so also if null) or `error`.

    Raises:
        ConfigError: lists every fault.
    """

    model: ModelParams | None = param(optional(section(ModelParams)), None)
    generation: GenerationParams | None = param(optional(section(GenerationParams)), None)
    input_path: str | None = param(optional(path()), None)
    output_path: str | None = param(optional(path()), None)
    progress_path: str | None = param(optional(path()), None)
    engine: str | None = param(optional(text()), None)
    remote_params: RemoteParams | None = param(optional(section(RemoteParams)), None)
    num_workers: int | None = param(optional(integer(1)), None)
    engine_args: dict[str, Any] = param(mapping(), factory=dict)
    batching: str | None = param(optional(text()), None)
    on_unsupported: str | None = param(optional(text(choices=("warn", "error"))), None)

    def over(self, base: InferenceConfig) -> InferenceConfig:
        """This config laid over `base`.

        What this one gives replaces the whole of what `base` gives by that name, section by
        section; the rest stays. Neither is changed.
        """
        given = {
            field.name: value
            for field in params_fields(InferenceConfig).values()
            if (value := getattr(self, field.attribute)) != field.default
        }
        return attrs.evolve(base, **given)

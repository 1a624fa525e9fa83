"""`InferenceConfig`: all that an inference job says, as one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.configs.budget_params import BudgetParams
from oumi_core.configs.checks import integer, mapping, optional, section, text
from oumi_core.configs.generation_params import GenerationParams
from oumi_core.configs.model_params import ModelParams
from oumi_core.configs.params import Params, param, params_fields
from oumi_core.configs.remote_params import RemoteParams

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

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
        budget: what the job may spend; no limits by default.
        batching: where a batch runs: `provider`, `local`, `auto` (the provider's if it has one),
            or a plugin's name.
        on_unsupported: what follows a generation parameter that the engine does not honour:
            `warn` (said once and counted; so also if null) or `error`.

    Raises:
        ConfigError: lists every fault.
    """

    model: ModelParams | None = param(optional(section(ModelParams)), None)
    generation: GenerationParams | None = param(optional(section(GenerationParams)), None)
    input_path: str | None = param(optional(text()), None)
    output_path: str | None = param(optional(text()), None)
    progress_path: str | None = param(optional(text()), None)
    engine: str | None = param(optional(text()), None)
    remote_params: RemoteParams | None = param(optional(section(RemoteParams)), None)
    num_workers: int | None = param(optional(integer(1)), None)
    engine_args: dict[str, Any] = param(mapping(), factory=dict)
    budget: BudgetParams | None = param(optional(section(BudgetParams)), None)
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

    @classmethod
    def from_yaml(
        cls, path: str | os.PathLike[str], overrides: Iterable[tuple[str, Any]] = ()
    ) -> InferenceConfig:
        """Read a YAML file.

        `${...}` and the like are kept as they stand: no environment variable is read.

        Args:
            path: the file, UTF-8.
            overrides: pairs of a dotted path and a value, which win over the file:
                `("generation.temperature", "0.5")`, `("generation.stop_strings[0]", "END")`. A
                text is read as YAML, but taken as it stands for a field that holds text.

        Raises:
            ConfigError: the file cannot be read, or lists every fault in it, with path and line.
        """
        from oumi_core.configs import loading  # noqa: PLC0415 - import on use: most make no file

        text = loading.read_file(path)
        return loading.load_text(cls, text, source=str(path), changes=overrides)

    @classmethod
    def from_yaml_and_arg_list(
        cls, path: str | os.PathLike[str], arguments: Iterable[str]
    ) -> InferenceConfig:
        """Read a YAML file, with overrides in Oumi's form: `["a.b=c", "list[0].x=1"]`.

        Raises:
            ConfigError: as `from_yaml`; an argument has no `=`.
        """
        from oumi_core.configs.overrides import split_arguments  # noqa: PLC0415 - import on use

        return cls.from_yaml(path, split_arguments(arguments))

    @classmethod
    def from_str(
        cls, text: str, source: str | None = None, overrides: Iterable[tuple[str, Any]] = ()
    ) -> InferenceConfig:
        """Read YAML text.

        Args:
            text: one YAML document.
            source: where it is from, for errors.
            overrides: as for `from_yaml`.

        Raises:
            ConfigError: lists every fault, with path and line.
        """
        from oumi_core.configs import loading  # noqa: PLC0415 - import on use: most read no text

        return loading.load_text(cls, text, source=source, changes=overrides)

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], overrides: Iterable[tuple[str, Any]] = ()
    ) -> InferenceConfig:
        """Make a config from plain data; sections are mappings or params objects.

        Args:
            data: the data, which is copied.
            overrides: as for `from_yaml`.

        Raises:
            ConfigError: lists every fault, with its path.
        """
        from oumi_core.configs import loading  # noqa: PLC0415 - import on use: most load nothing

        return loading.load(cls, data, changes=overrides)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` reads back, defaults included.

        Left out are fields that are null by default and still so, and `remote_params.api_key`:
        a config that is written down must not hold the key (name its variable instead).
        """
        from oumi_core.configs import writing  # noqa: PLC0415 - import on use: most write nothing

        return writing.to_dict(self)

    def to_yaml(self, path: str | os.PathLike[str] | None = None) -> str:
        """YAML text of what `to_dict` gives, which `from_str` reads back.

        Args:
            path: a file to write it to as well.

        Raises:
            ConfigError: a value has no form in YAML (a class in `guided_decoding.json`: give its
                JSON Schema), or the file cannot be written.
        """
        from oumi_core.configs import writing  # noqa: PLC0415 - import on use: most write nothing

        return writing.to_yaml(self, path)

"""Whether a batch can go where it shall go, before anything is written or sent."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING

from oumi_core.batching.stored_config import refuse_what_cannot_be_kept
from oumi_core.engine import EngineConfig
from oumi_core.errors import ConfigError, DataError, EngineError, OumiError
from oumi_core.run.own_params import OwnParams
from oumi_core.run.row import Row

if TYPE_CHECKING:
    from oumi_core.configs import InferenceConfig
    from oumi_core.data.openai_batch import OpenAIBatchFile
    from oumi_core.plugin_info import Found
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation

__all__ = ["check_elsewhere", "check_engine", "check_given", "say_what_is_not_held"]


def check_elsewhere(found: Found, config: InferenceConfig, batching: str) -> None:
    """See that another process can answer a batch, from what is on disk and its environment.

    Raises:
        ConfigError: it cannot.
    """
    refuse_what_cannot_be_kept(config)
    if not found.distribution:
        raise ConfigError(
            f"batching: {batching} runs the engine in another process, which finds engines by "
            f"name only; announce {found.cls.__name__} as a plugin"
        )
    check_engine(found, config)


def check_engine(found: Found, config: InferenceConfig) -> None:
    """See that this process's environment has what the engine asks of it. Loads nothing.

    Raises:
        ConfigError: it has not: there is no key, say.
    """
    assert config.model is not None  # noqa: S101 - else there would be no batch
    wanted = EngineConfig(config.model, config.remote_params, config.engine_args, found.provider)
    try:
        found.cls(wanted)
    except OumiError:
        raise
    except Exception:  # noqa: BLE001, S110 - a plugin's defect: the worker meets and reports it
        pass


def say_what_is_not_held(config: InferenceConfig, batching: str) -> None:
    """Warn of what a provider cannot hold to: it answers all that it was sent, at any cost.

    Raises:
        ConfigError: `on_unsupported` asks for that.
    """
    if config.budget is None:
        return
    why = f"budget: nothing holds to it with batching: {batching}; leave it out, or choose local"
    _say(config, why)


def check_given(
    file: OpenAIBatchFile, found: Found, config: InferenceConfig, plan: Plan, *, as_given: bool
) -> None:
    """See that the requests of a file can be asked. Blocks.

    Where they are sent as they are, whoever answers them says what cannot be; else they are looked
    at here, one by one.

    Raises:
        ConfigError: the config asks for more than they do, and that is not to be overlooked.
        DataError: a request asks for what this engine cannot be asked for; by file and line.
    """
    if as_given:
        added = sorted(plan.generation.changed())
        if plan.constraint is not None:
            raise ConfigError(
                "generation.guided_decoding: the requests of the file are sent as they are; say it "
                "in their response_format"
            )
        if added:
            names = ", ".join(f"generation.{name}" for name in added)
            _say(config, f"{names}: not used, the requests of the file are sent as they are")
        return
    capabilities = found.cls.capabilities
    # Only what the class says of its capabilities is looked at: nothing is asked of an engine.
    make = partial(Row, found.cls, alike=True)  # type: ignore[arg-type] # see above
    own = OwnParams(plan, capabilities, make)

    def look(row: Conversation) -> None:
        try:
            own.row_for(row)
        except EngineError as error:
            raise DataError(error.failure.message) from error

    file.check(look)


def _say(config: InferenceConfig, why: str) -> None:
    if config.on_unsupported == "error":
        raise ConfigError(why)
    warnings.warn(why, UserWarning, stacklevel=3)

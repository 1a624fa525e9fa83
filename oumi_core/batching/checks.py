"""Whether a batch can go where it shall go, before anything is written or sent."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from oumi_core.batching.stored_config import refuse_what_cannot_be_kept
from oumi_core.engine import EngineConfig
from oumi_core.errors import ConfigError, OumiError

if TYPE_CHECKING:
    from oumi_core.configs import InferenceConfig
    from oumi_core.plugin_info import Found

__all__ = ["check_elsewhere", "check_engine", "say_what_is_not_held"]


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
    if config.on_unsupported == "error":
        raise ConfigError(why)
    warnings.warn(why, UserWarning, stacklevel=2)

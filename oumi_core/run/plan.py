"""What a run will do, worked out and checked before anything is loaded or sent."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.configs import GenerationParams, RemoteParams
from oumi_core.engine import EngineConfig, Request
from oumi_core.errors import ConfigError, OumiError, PluginError
from oumi_core.guided.constraint import Grammar, constraint_of
from oumi_core.guided.decoder import Refusal
from oumi_core.registry import GUIDED_DECODER, RETRY_POLICY, find
from oumi_core.run.price import price_of
from oumi_core.types.conversation import Conversation

if TYPE_CHECKING:
    from oumi_core.configs import BudgetParams, InferenceConfig, ModelParams
    from oumi_core.engine import Capabilities
    from oumi_core.guided.constraint import Constraint
    from oumi_core.guided.decoder import Decoder
    from oumi_core.plugin_info import Found
    from oumi_core.run.price import Price
    from oumi_core.run.retry import RetryPolicy

__all__ = ["Plan", "make_plan", "with_generation"]


@attrs.frozen
class Plan:
    """A run's effective settings; the same objects go into every row's request.

    Attributes:
        engine_config: what the engine is made from.
        generation: the effective parameters.
        constraint: what answers must fit; None if they are free.
        decoder: sees to the constraint; None without one.
        enforced: what the decoder leaves to the engine; None if that is nothing.
        remote: how the server is to be treated; the defaults if the config does not say.
        policy: decides what follows a failure.
        num_workers: rows in flight; None for the engine's own default.
        budget: what the job may spend; None without limits.
        price: what the model's tokens cost; None if nobody says.
        unsupported: parameters that the engine does not honour, sorted.
        on_unsupported: what follows one of these: `warn` or `error`.
    """

    engine_config: EngineConfig
    generation: GenerationParams
    constraint: Constraint | None
    decoder: Decoder | None
    enforced: Constraint | None
    remote: RemoteParams
    policy: RetryPolicy
    num_workers: int | None
    budget: BudgetParams | None
    price: Price | None
    unsupported: tuple[str, ...]
    on_unsupported: str

    @property
    def model(self) -> ModelParams:
        """The effective model."""
        return self.engine_config.model


def make_plan(config: InferenceConfig, engine: Found, *, anew: bool = True) -> Plan:
    """Work out what `config` means for `engine`.

    Parameters that the engine does not honour are warned of here, once a run.

    Args:
        config: the effective config.
        engine: the engine.
        anew: False for what was sent with this config already: nothing is warned of again.

    Raises:
        ConfigError: there is no model; its price is not known and has to be; or something is
            asked for that this engine cannot do.
    """
    if config.model is None:
        raise ConfigError("model: missing; give model.model_name")
    capabilities: Capabilities = engine.cls.capabilities
    generation = config.generation or GenerationParams()
    if config.model.adapter_model is not None and not capabilities.lora:
        raise ConfigError(
            f"model.adapter_model: engine {engine.name!r} does not load adapters; "
            "choose another engine, or leave it out"
        )
    engine_config = EngineConfig(
        config.model, config.remote_params, config.engine_args, engine.provider
    )
    constraint, decoder, enforced = _guided(engine_config, generation, capabilities, anew=anew)
    remote = config.remote_params or RemoteParams()
    policy: type[RetryPolicy] = find(RETRY_POLICY, remote.retry_policy).cls
    return Plan(
        engine_config=engine_config,
        generation=generation,
        constraint=constraint,
        decoder=decoder,
        enforced=enforced,
        remote=remote,
        policy=_made(policy, remote),
        num_workers=config.num_workers or remote.num_workers,
        budget=config.budget,
        price=price_of(config.budget, config.model.model_name),
        unsupported=_unsupported(config, generation, capabilities, engine.name, anew=anew),
        on_unsupported=config.on_unsupported or "warn",
    )


def with_generation(plan: Plan, generation: GenerationParams, capabilities: Capabilities) -> Plan:
    """The same plan with other generation parameters, as some rows bring them; warns of nothing.

    Raises:
        ConfigError: this engine cannot hold their constraint.
    """
    if generation.guided_decoding is plan.generation.guided_decoding:
        return attrs.evolve(plan, generation=generation)
    constraint, decoder, enforced = _guided(
        plan.engine_config, generation, capabilities, anew=False
    )
    return attrs.evolve(
        plan, generation=generation, constraint=constraint, decoder=decoder, enforced=enforced
    )


def _made(policy: type[RetryPolicy], remote: RemoteParams) -> RetryPolicy:
    try:
        return policy(remote)
    except OumiError:
        raise
    except Exception as error:
        raise PluginError(
            f"retry policy {remote.retry_policy!r} cannot be made: it raised "
            f"{type(error).__name__}; repair its plugin, or choose another in "
            "remote_params.retry_policy",
            name=remote.retry_policy,
        ) from error


def _guided(
    engine_config: EngineConfig,
    generation: GenerationParams,
    capabilities: Capabilities,
    *,
    anew: bool,
) -> tuple[Constraint | None, Decoder | None, Constraint | None]:
    params = generation.guided_decoding
    if params is None:
        return None, None, None
    constraint = constraint_of(params)
    if anew and isinstance(constraint, Grammar) and find_spec("llguidance") is None:
        warnings.warn(
            "answers are not checked against their grammar: pip install 'oumi-core[grammar]'",
            UserWarning,
            stacklevel=5,
        )
    decoder_class: type[Any] = find(GUIDED_DECODER, params.backend).cls
    decoder: Decoder = decoder_class(constraint)
    probe = Request(Conversation([]), engine_config.model, generation, constraint)
    prepared = decoder.prepare(probe, capabilities)
    if isinstance(prepared, Refusal):
        raise ConfigError(f"generation.guided_decoding: {prepared.reason}")
    return constraint, decoder, prepared.constraint


def _unsupported(
    config: InferenceConfig,
    generation: GenerationParams,
    capabilities: Capabilities,
    name: str,
    *,
    anew: bool,
) -> tuple[str, ...]:
    unsupported = tuple(sorted(generation.changed() - capabilities.generation))
    if not (unsupported and anew):
        return unsupported
    faults = [f"generation.{field}: engine {name!r} does not use it" for field in unsupported]
    if config.on_unsupported == "error":
        raise ConfigError(*faults)
    # Four frames up is the caller of infer, run or stream.
    warnings.warn("; ".join(faults), UserWarning, stacklevel=4)
    return unsupported

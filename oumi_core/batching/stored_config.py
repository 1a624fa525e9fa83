"""The config of a batch as it is kept on disk: all that a later process needs, and no secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from oumi_core.configs import InferenceConfig
from oumi_core.errors import ConfigError
from oumi_core.guided.constraint import JsonSchema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from oumi_core.guided.constraint import Constraint

__all__ = ["read_config", "refuse_what_cannot_be_kept", "storable", "write_config"]

_SECRET: Final = frozenset(
    {"key", "apikey", "token", "secret", "password", "passwd", "credential", "credentials"}
    | {"authorization", "auth", "cookie"}
)
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_PLAIN: Final = (str, int, float, type(None))  # a bool is an int


def storable(config: InferenceConfig, constraint: Constraint | None) -> InferenceConfig:
    """The config without its key, its paths, and arguments that are secret or no plain data.

    Args:
        config: the effective config of a submission.
        constraint: what it asks answers to fit; a class is kept as its schema.
    """
    remote, generation = config.remote_params, config.generation
    if remote is not None and remote.api_key is not None:
        remote = attrs.evolve(remote, api_key=None)
    guided = None if generation is None else generation.guided_decoding
    if generation is not None and guided is not None and isinstance(constraint, JsonSchema):
        guided = attrs.evolve(guided, json=_titled(constraint))
        generation = attrs.evolve(generation, guided_decoding=guided)
    left_out = {fault.partition(".")[2].partition(".")[0] for fault, _ in _unkept(config)}
    arguments = {key: value for key, value in config.engine_args.items() if key not in left_out}
    return attrs.evolve(
        config,
        remote_params=remote,
        generation=generation,
        engine_args=arguments,
        input_path=None,
        output_path=None,
        progress_path=None,
    )


def refuse_what_cannot_be_kept(config: InferenceConfig) -> None:
    """Refuse a config that a process without its secrets and objects could not run.

    Raises:
        ConfigError: lists every such field.
    """
    faults = []
    if config.remote_params is not None and config.remote_params.api_key is not None:
        faults.append(
            "remote_params.api_key: a key is never stored; set an environment variable and give "
            "its name in remote_params.api_key_env_varname"
        )
    faults += [f"{path}: {why}" for path, why in _unkept(config)]
    if faults:
        raise ConfigError(*faults)


def write_config(config: InferenceConfig) -> bytes:
    """A config that is `storable`, as JSON."""
    return msgspec.json.encode(config.to_dict())


def read_config(text: bytes) -> InferenceConfig:
    """What `write_config` wrote.

    Raises:
        ConfigError: it was written by another version, or changed by hand.
    """
    return InferenceConfig.from_dict(msgspec.json.decode(text))


def _titled(constraint: JsonSchema) -> Any:
    schema = constraint.schema
    return {"title": constraint.name, **schema} if isinstance(schema, dict) else schema


def _unkept(config: InferenceConfig) -> Iterator[tuple[str, str]]:
    """The paths of engine_args that are not kept, and why."""
    yield from _unkept_in(config.engine_args, "engine_args")


def _unkept_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, element in value.items():
            place = f"{path}.{key}"
            if isinstance(element, str) and _SECRET & {
                word.lower() for word in _WORDS.findall(str(key))
            }:
                yield place, "looks like a secret, which is never stored; leave it out"
            else:
                yield from _unkept_in(element, place)
    elif isinstance(value, list | tuple):
        for index, element in enumerate(value):
            yield from _unkept_in(element, f"{path}[{index}]")
    elif not isinstance(value, _PLAIN):
        yield path, f"is a {type(value).__name__}, which no other process can be given"

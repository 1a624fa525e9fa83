"""`oumi config`: check a config before it is run, and the schema for editors."""

from __future__ import annotations

import json

import click

from oumi_core.cli.console import note
from oumi_core.cli.overrides import take_overrides
from oumi_core.configs import InferenceConfig, json_schema
from oumi_core.errors import PluginError
from oumi_core.registry import ENGINE, default_registry, find

__all__ = ["command"]


@click.group("config")
def command() -> None:
    """Check a config, or print the schema of one."""


@command.command(
    "check", context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.argument("file", type=click.Path())
@click.pass_context
def check(context: click.Context, file: str) -> None:
    """Check FILE and say what it is, or list every fault in it.

    Overrides may follow, as for `oumi infer`: --generation.temperature 0.5
    """
    config = InferenceConfig.from_yaml(file, take_overrides(context))
    click.echo(f"{file}: good")
    model = config.model
    if model is not None:
        adapter = f" with adapter {model.adapter_model}" if model.adapter_model else ""
        click.echo(f"  model   {model.model_name}{adapter}")
    if config.engine is not None:
        click.echo(f"  engine  {_engine(config.engine)}")
    for what, path in (("input", config.input_path), ("output", config.output_path)):
        if path is not None:
            click.echo(f"  {what.ljust(6)}  {path}")
    if config.engine is None:
        note("it names no engine: give --engine NAME to run it")
    if model is None:
        note("it names no model: give --model.model_name NAME to run it")


def _engine(name: str) -> str:
    """The engine and whether it is installed; imports no plugin."""
    listed = default_registry().lookup(ENGINE, name)
    if not listed:
        try:
            find(ENGINE, name)  # loads nothing, as there is nothing
        except PluginError as error:
            return f"{name}: not installed: {error}"
    states = [f"{info.distribution} {info.version}, {info.state.value}" for info in listed]
    return f"{name} ({'; '.join(states)})"


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of a config, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))

"""`oumi batch`: batches that outlive the program: sent, watched, fetched, stopped, sent again."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from oumi_core.batching.export import result_line
from oumi_core.batching.fetching import info_of
from oumi_core.batching.store import BatchStore
from oumi_core.batching.stored_config import read_config
from oumi_core.cli.console import (
    events_instead_of_notes,
    note,
    rich_console,
    shows_progress,
    write_event,
)
from oumi_core.cli.engines import complete_engine
from oumi_core.cli.overrides import take_overrides
from oumi_core.cli.report import SHOWN_FAILURES
from oumi_core.cli.standard_input import STANDARD_INPUT, standard_input
from oumi_core.configs import InferenceConfig
from oumi_core.data.openai_batch import read_openai_batch
from oumi_core.errors import BatchUnfinished
from oumi_core.exit_codes import ExitCode
from oumi_core.inference import InferenceEngine, get_engine
from oumi_core.run.output import failed_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from oumi_core.batching.export import Form
    from oumi_core.batching.status import BatchInfo

__all__ = ["command"]


def _complete_id(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [batch_id for batch_id in BatchStore().ids() if batch_id.startswith(incomplete)]


_id_argument = click.argument("batch_id", metavar="ID", shell_complete=_complete_id)
_config_option = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(),
    help="How the server is reached now; by default as it was.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_form_option = click.option(
    "--format",
    "form",
    type=click.Choice(["conversations", "openai-batch"]),
    default="conversations",
    help="How the file is written: conversations, or the lines of OpenAI's batch files.",
)


@click.group("batch")
def command() -> None:
    """Send rows as a batch, and have the answers later, from any process.

    \b
      oumi batch submit -c config.yaml --input_path in.jsonl      prints the batch's ID
      oumi batch wait ID && oumi batch results ID --output_path out.jsonl

    `batching` in the config says where it goes: to the provider's batch API, or to a queue on this
    machine that any engine can have. Exit codes are those of a run; 3: it is not at its end.
    """  # noqa: D301 - click keeps the lines below the character \b as they are


@command.command(
    "submit", context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
@click.option("-c", "--config", "config_path", type=click.Path(), help="The config, a YAML file.")
@click.option("--engine", shell_complete=complete_engine, help="The engine; wins over the config.")
@click.option(
    "--input_path",
    "--input-path",
    type=click.Path(),
    help="The rows, JSONL; - reads standard input.",
)
@_form_option
@_json_option
@click.pass_context
def submit(  # noqa: PLR0917 - one parameter an option, which click passes by name
    context: click.Context,
    config_path: str | None,
    engine: str | None,
    input_path: str | None,
    form: Form,
    as_json: bool,
) -> int:
    """Send the rows of a file as a batch, and print its ID.

    After a crash the same command goes on with the same batch. Any key of the config can be given
    as an option: --batching local --generation.temperature 0.5
    """
    given = {"engine": engine, "input_path": input_path}
    overrides = [*take_overrides(context), *((k, v) for k, v in given.items() if v is not None)]
    config = _config(config_path, overrides)
    if config.input_path is None:
        raise click.UsageError("there is nothing to send; give --input_path FILE", context)
    piped = config.input_path == STANDARD_INPUT
    if piped and form == "openai-batch":
        raise click.UsageError("a file of OpenAI's is read twice; give --input_path FILE", context)
    file = read_openai_batch(config.input_path) if form == "openai-batch" else None
    if file is not None and file.model is not None:
        config = _config(config_path, [("model.model_name", file.model), *overrides])
    with standard_input() if piped else nullcontext() as lines, get_engine(config=config) as made:
        made.infer_batch(lines if file is None else file, on_id=partial(_print_id, as_json=as_json))
    return ExitCode.OK


def _print_id(batch_id: str, *, as_json: bool) -> None:
    # Without a look at the server: the id has to come out whatever that says.
    click.echo(json.dumps(_as_last_seen(batch_id).to_dict()) if as_json else batch_id)


def _as_last_seen(batch_id: str) -> BatchInfo:
    with closing(BatchStore().open(batch_id)) as manifest:
        return info_of(manifest)


@command.command("status")
@_id_argument
@_config_option
@_json_option
def status(batch_id: str, config_path: str | None, as_json: bool) -> int:
    """Print how far batch ID is."""
    with _engine_of(batch_id, config_path) as engine:
        _show(engine.get_batch_status(batch_id), as_json=as_json)
    return ExitCode.OK


@command.command("wait")
@_id_argument
@_config_option
@click.option("--timeout", type=click.FloatRange(min=0), help="The most seconds to wait.")
@click.option(
    "--progress",
    type=click.Choice(["auto", "json", "none"]),
    default="auto",
    help="How far it is, on standard error. auto: on a terminal. json: an object at each look.",
)
@_json_option
def wait(
    batch_id: str, config_path: str | None, timeout: float | None, progress: str, as_json: bool
) -> int:
    """Wait until batch ID is at its end, and fetch its results to this machine."""
    events_instead_of_notes(progress == "json")
    with _engine_of(batch_id, config_path) as engine, _shown(progress) as on_progress:
        info = engine.wait_batch(batch_id, timeout=timeout, on_progress=on_progress)
    _show(info, as_json=as_json)
    return _code(info)


@command.command("results")
@_id_argument
@_config_option
@click.option(
    "--output_path", "--output-path", type=click.Path(), help="The file; printed if not given."
)
@click.option("--partial", is_flag=True, help="What is finished, also if the batch is not.")
@_form_option
@_json_option
def results(  # noqa: PLR0917 - as above
    batch_id: str,
    config_path: str | None,
    output_path: str | None,
    partial: bool,
    form: Form,
    as_json: bool,
) -> int:
    """Write the answers of batch ID in the order of its rows; failed rows go to a file beside.

    With --json the batch's state is printed, which needs --output_path.
    """
    if as_json and output_path is None:
        raise click.UsageError("--json needs --output_path: the answers are printed without it")
    with _engine_of(batch_id, config_path) as engine:
        if output_path is None:
            info = _print_results(engine, batch_id, form, partial=partial)
        else:
            info = engine.write_batch_results(batch_id, output_path, partial=partial, form=form)
    if as_json:
        click.echo(json.dumps(info.to_dict()))
    elif output_path is not None:
        note(_line(info), style="bold")
        note(f"answers: {output_path}")
        if failed_path(output_path).exists():
            note(f"failed rows: {failed_path(output_path)}")
    return _code(info)


def _print_results(
    engine: InferenceEngine, batch_id: str, form: Form, *, partial: bool
) -> BatchInfo:
    found = engine.get_batch_results_partial(batch_id)
    info = engine.get_batch_status(batch_id)
    if not (partial or info.is_terminal):
        raise BatchUnfinished(info)
    failed = [result for result in found.results if not result.ok]
    for result in found.results:
        if result.ok:
            click.echo(result_line(result, form), nl=False)
    for result in failed[:SHOWN_FAILURES]:
        if result.error is not None:
            reason = f"row {result.index + 1}: {result.error.kind.value}: {result.error.message}"
            note(reason, label="failed", style="red")
    if len(failed) > SHOWN_FAILURES:
        note(f"... and {len(failed) - SHOWN_FAILURES:,} more failed")
    return info


@command.command("cancel")
@_id_argument
@_config_option
@_json_option
def cancel(batch_id: str, config_path: str | None, as_json: bool) -> int:
    """Stop batch ID; what it has finished can be had. It may take a few minutes."""
    with _engine_of(batch_id, config_path) as engine:
        _show(engine.cancel_batch(batch_id), as_json=as_json)
    return ExitCode.OK


@command.command("resubmit")
@_id_argument
@_config_option
@click.option("--online", is_flag=True, help="Answer them now, and wait for that.")
@_json_option
def resubmit(batch_id: str, config_path: str | None, online: bool, as_json: bool) -> int:
    """Send those rows of batch ID once more that have no accepted answer. It keeps its ID."""
    with _engine_of(batch_id, config_path) as engine:
        info = engine.resubmit_batch(batch_id, via="online" if online else "batch")
    _show(info, as_json=as_json)
    return _code(info) if online else ExitCode.OK


@command.command("list")
@_json_option
def list_(as_json: bool) -> int:
    """List the batches of this machine, the newest first, each as it was last seen."""
    infos = list(BatchStore().infos())
    if as_json:
        click.echo(json.dumps([info.to_dict() for info in infos]))
        return ExitCode.OK
    for info in infos:
        fields = (info.id, str(info.status), _rows(info), info.engine, info.batching, info.model)
        click.echo("  ".join(fields))
    if not infos:
        note("there are no batches; send one with: oumi batch submit -c FILE --input_path IN")
    return ExitCode.OK


@command.command("forget")
@_id_argument
@_config_option
def forget(batch_id: str, config_path: str | None) -> int:
    """Remove batch ID, which must be at its end, from this machine, its results too."""
    with _engine_of(batch_id, config_path) as engine:
        engine.forget_batch(batch_id)
    return ExitCode.OK


def _config(path: str | None, overrides: list[tuple[str, Any]]) -> InferenceConfig:
    if path is None:
        return InferenceConfig.from_dict({}, overrides)
    return InferenceConfig.from_yaml(path, overrides)


def _engine_of(batch_id: str, config_path: str | None) -> InferenceEngine:
    """The engine that a batch was submitted to, with the config of now, or else of then."""
    with closing(BatchStore().open(batch_id)) as manifest:
        facts = manifest.facts
    config = read_config(facts.config) if config_path is None else _config(config_path, [])
    return InferenceEngine(facts.engine, config)


def _show(info: BatchInfo, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(info.to_dict()))
        return
    click.echo(_line(info))
    for error in info.errors:
        where = "" if error.row is None else f"row {error.row + 1}: "
        code = "" if error.code is None else f"{error.code}: "
        note(f"{where}{code}{error.message}", label="error", style="red")


def _line(info: BatchInfo) -> str:
    """A batch in one line: `completed: 998/1,000 rows answered, 2 failed (1 failed, 1 missing)`."""
    text = f"{info.status}: {_rows(info)} rows answered"
    if info.failed_requests:
        text += f", {info.failed_requests:,} failed"
        kinds = [f"{count:,} {name}" for name, count in info.outcomes.items() if name != "ok"]
        if kinds:
            text += f" ({', '.join(kinds)})"
    return text


def _rows(info: BatchInfo) -> str:
    return f"{info.completed_requests:,}/{info.total_requests:,}"


def _code(info: BatchInfo) -> int:
    """What a program ends with that has shown this much of a batch."""
    if not info.is_terminal:
        return ExitCode.STOPPED
    answered = info.completed_requests == info.total_requests
    return ExitCode.OK if answered else ExitCode.SOME_FAILED


@contextmanager
def _shown(progress: str) -> Iterator[Callable[[BatchInfo], None] | None]:
    """What shows each state of a batch that is waited for; None to show nothing."""
    if progress == "json":
        yield lambda info: write_event("progress", **info.to_dict())
    elif progress == "auto" and shows_progress():
        with rich_console(stderr=True).status("looking") as line:
            yield lambda info: line.update(_line(info))
    else:
        yield None

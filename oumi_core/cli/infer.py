"""`oumi infer`: one config, and a file of conversations, one question, or a chat."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from oumi_core.cli.console import (
    events_instead_of_notes,
    has_typist,
    is_terminal,
    write_event,
)
from oumi_core.cli.engines import complete_engine
from oumi_core.cli.overrides import take_overrides
from oumi_core.configs import InferenceConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["command"]


def _choose_notes(_: click.Context, __: click.Parameter, progress: str) -> str:
    """Have standard error hold nothing but JSON from now on, if that was asked for."""
    events_instead_of_notes(progress == "json")
    return progress


@click.command("infer", context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("-c", "--config", "config_path", type=click.Path(), help="The config, a YAML file.")
@click.option("--engine", shell_complete=complete_engine, help="The engine; wins over the config.")
@click.option(
    "--input_path",
    "--input-path",
    type=click.Path(),
    help="Conversations to answer, JSONL; - for standard input, read as it comes.",
)
@click.option(
    "--output_path",
    "--output-path",
    type=click.Path(),
    help="Where the answers go, JSONL; printed if not given.",
)
@click.option("--retry-failed", is_flag=True, help="Try again also rows that no retry may help.")
@click.option("--fresh", is_flag=True, help="Forget the answers of earlier runs to this output.")
@click.option("--prompt", help="Answer this one question, and end.")
@click.option("-i", "--interactive", is_flag=True, help="Chat, also where lines come from a pipe.")
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(),
    metavar="PATH|URL",
    help="An image for the question or the first turn of the chat; may be repeated.",
)
@click.option("--system-prompt", help="The system message of the question or the chat.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON: the conversations, one a line; with --output_path, the summary.",
)
@click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "json", "none"]),
    default="auto",
    callback=_choose_notes,
    is_eager=True,
    help="How far a file is, on standard error. auto: a bar on a terminal. json: an object a second"
    ' of "event": "progress", and one with "state": "ended"; whatever else is said is an object'
    ' too ("event": "error", "failed", "stopped", "warning", "log").',
)
@click.option("-v", "--verbose", count=True, help="Show the log: -v what happens, -vv all of it.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    help="The least level of the log that is shown.",
)
@click.pass_context
def command(  # noqa: PLR0917 - one parameter an option, which click passes by name
    context: click.Context,
    config_path: str | None,
    engine: str | None,
    input_path: str | None,
    output_path: str | None,
    retry_failed: bool,
    fresh: bool,
    prompt: str | None,
    interactive: bool,
    images: tuple[str, ...],
    system_prompt: str | None,
    as_json: bool,
    progress: str,
    verbose: int,
    log_level: str | None,
) -> int:
    """Answer a file of conversations, one question (--prompt), or chat (-i).

    Any key of the config can be given as an option and wins over the file:

    \b
      oumi infer -c config.yaml --input_path in.jsonl --output_path out.jsonl
      oumi infer -c config.yaml --prompt "What is 2+2?" --generation.temperature 0.5
      oumi infer --engine echo --model.model_name none -i
    """  # noqa: D301 - click keeps the lines below the character \b as they are
    _show_log(verbose, log_level, as_events=progress == "json")
    ways = {"--input_path": input_path, "--prompt": prompt, "-i": interactive or None}
    chosen = [option for option, value in ways.items() if value is not None]
    if len(chosen) > 1:
        raise click.UsageError(f"{' and '.join(chosen)} exclude each other; give one", context)
    if prompt is not None and not prompt.strip():
        raise click.UsageError("--prompt is empty; give a question", context)
    config = _config(context, config_path, engine, input_path, output_path)
    if not chosen and config.input_path is not None:
        chosen = ["--input_path"]
    _check_fit(context, chosen, output_path, as_json, images or system_prompt)
    _check_progress(context, chosen, progress)
    if (retry_failed or fresh) and (chosen != ["--input_path"] or config.output_path is None):
        raise click.UsageError("--retry-failed and --fresh need --output_path", context)
    if chosen == ["--input_path"]:
        return _answer_file(
            config, fresh=fresh, retry_failed=retry_failed, as_json=as_json, progress=progress
        )
    return _talk(config, prompt, system_prompt, images, as_json=as_json)


def _answer_file(
    config: InferenceConfig, *, fresh: bool, retry_failed: bool, as_json: bool, progress: str
) -> int:
    # Import on use, here and below: help and completion need no engine.
    from oumi_core.cli.file_run import answer_file  # noqa: PLC0415
    from oumi_core.cli.standard_input import STANDARD_INPUT, standard_input  # noqa: PLC0415
    from oumi_core.inference import get_engine  # noqa: PLC0415

    piped = config.input_path == STANDARD_INPUT
    with standard_input() if piped else nullcontext() as rows, get_engine(config=config) as engine:
        run = engine.run(rows, fresh=fresh, retry_failed=retry_failed)
        return answer_file(run, config.output_path, as_json=as_json, shown=progress)


def _talk(
    config: InferenceConfig,
    prompt: str | None,
    system_prompt: str | None,
    images: Sequence[str],
    *,
    as_json: bool,
) -> int:
    """Answer the one question; without one, chat."""
    from oumi_core.cli.chat import chat  # noqa: PLC0415
    from oumi_core.cli.images import image_item  # noqa: PLC0415
    from oumi_core.cli.question import answer_question  # noqa: PLC0415
    from oumi_core.cli.talk import Talk  # noqa: PLC0415
    from oumi_core.inference import get_engine  # noqa: PLC0415

    talk = Talk(system_prompt, images=[image_item(place) for place in images])
    with get_engine(config=config) as engine:
        if prompt is None:
            return chat(engine, talk)
        return answer_question(engine, talk.conversation(talk.question(prompt)), as_json=as_json)


def _config(
    context: click.Context,
    path: str | None,
    engine: str | None,
    input_path: str | None,
    output_path: str | None,
) -> InferenceConfig:
    options = {"engine": engine, "input_path": input_path, "output_path": output_path}
    given = [(key, value) for key, value in options.items() if value is not None]
    overrides = [*take_overrides(context), *given]
    if path is None:
        return InferenceConfig.from_dict({}, overrides)
    return InferenceConfig.from_yaml(path, overrides)


def _check_fit(
    context: click.Context,
    chosen: list[str],
    output_path: str | None,
    as_json: bool,
    for_one: object,
) -> None:
    """Refuse options that the chosen way of asking does not have.

    Raises:
        click.UsageError: there is such an option, or nothing to answer and nobody to chat with.
    """
    if chosen == ["--input_path"]:
        if for_one:
            raise click.UsageError(
                "--image and --system-prompt are for --prompt and the chat; "
                "the rows of a file hold their own",
                context,
            )
        return
    if output_path is not None:
        raise click.UsageError("--output_path needs --input_path", context)
    if chosen == ["--prompt"]:
        return
    if as_json:
        raise click.UsageError(
            "--json is for --input_path and --prompt; in a chat use /save", context
        )
    if not chosen and not has_typist():
        raise click.UsageError(
            "there is nothing to answer; give --input_path FILE, --prompt TEXT, "
            "or -i to chat with lines from standard input",
            context,
        )


def _check_progress(context: click.Context, chosen: list[str], progress: str) -> None:
    """Refuse progress that cannot be shown.

    Raises:
        click.UsageError: it cannot.
    """
    if progress != "auto" and chosen != ["--input_path"]:
        raise click.UsageError("--progress needs --input_path", context)
    if progress == "bar" and not is_terminal(sys.stderr):
        raise click.UsageError(
            "--progress bar needs a terminal on standard error; --progress json does not", context
        )


class _EventHandler(logging.Handler):
    """Writes log records as events."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        write_event("log", level=level, logger=record.name, message=self.format(record))


def _show_log(verbose: int, level: str | None, *, as_events: bool) -> None:
    if level is None:
        level = ("warning", "info", "debug")[min(verbose, 2)]
    if as_events:
        logging.basicConfig(level=level.upper(), format="%(message)s", handlers=[_EventHandler()])
        return
    logging.basicConfig(
        level=level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )

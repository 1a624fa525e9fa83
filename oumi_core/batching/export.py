"""The results of a batch as files: whole, or not there at all."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from oumi_core.batching.results import read_results
from oumi_core.errors import RunStopped
from oumi_core.run.output import failed_path, line_of, write_whole
from oumi_core.run.paths import settle_paths
from oumi_core.wire.batch_results import encode_batch_answer, encode_batch_failure

if TYPE_CHECKING:
    from collections.abc import Generator

    from oumi_core.batching.manifest import Manifest
    from oumi_core.run.row import Row
    from oumi_core.types.result import Result

__all__ = ["Form", "export", "lines_of_results", "result_line"]

Form = Literal["conversations", "openai-batch"]


def export(manifest: Manifest, judge: Row, output_path: str, form: Form) -> None:
    """Write the accepted answers to a file, and the failed rows beside it, in order. Blocks.

    Args:
        manifest: the batch.
        judge: makes results of answers, as in a run.
        output_path: the file for the answers; that for failed rows ends in `.failed.jsonl`.
        form: how lines are written: as a run writes conversations, or as OpenAI's batch files.

    Raises:
        ConfigError: a file cannot be there.
        RunStopped: the disk refuses.
    """
    target, _ = settle_paths(None, output_path, None)
    assert target is not None  # noqa: S101 - there was an output_path
    try:
        for ok, path in ((True, Path(target)), (False, failed_path(target))):
            with closing(lines_of_results(manifest, judge, form, ok=ok)) as lines:
                write_whole(lines, path, keep_empty=ok)
    except OSError as error:
        raise RunStopped(
            f"the disk of {output_path} refused a write: {error.strerror}; the results are kept: "
            "make room and run the same again"
        ) from error


def lines_of_results(
    manifest: Manifest, judge: Row, form: Form, *, ok: bool
) -> Generator[bytes, None, None]:
    """The good results, or the failed ones, as lines; rows that have none are left out. Blocks."""
    for result in read_results(manifest, judge, None):
        if not isinstance(result, int) and result.ok is ok:
            yield result_line(result, form)


def result_line(result: Result, form: Form) -> bytes:
    """A result of a batch as a line of a file."""
    if form == "conversations":
        return line_of(result)
    custom_id = result.conversation.conversation_id or f"request-{result.index}"
    if result.error is not None:
        return encode_batch_failure(custom_id, result.error)
    assert result.completion is not None  # noqa: S101 - else it would have an error
    return encode_batch_answer(custom_id, result.completion)

"""The files of a run: where they truly are, and that none of them is another one."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from oumi_core.errors import ConfigError
from oumi_core.run.journal import journal_path
from oumi_core.run.output import failed_path, temporary_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["settle_paths"]

_OTHER: Final = "choose another path"
_REPAIR: Final = (
    "to try the failed rows again, give the input that they are from: its good answers are kept"
)


@attrs.frozen
class _Place:
    """A file that a run reads or writes.

    Attributes:
        field: the field of the config that it comes from.
        shown: its path in errors, as the field has it.
        path: its absolute path.
        role: what the run has it for; empty for the one that the field names.
        known_as: the same in the words of an other field's error.
        replaced: True if a new file takes its place, whatever it is.
    """

    field: str
    shown: str
    path: Path
    role: str
    known_as: str
    replaced: bool = True


def settle_paths(
    input_path: Path | None, output_path: str | None, progress_path: str | None
) -> tuple[str | None, str | None]:
    """Where a run writes its output and its progress, for good.

    The paths are absolute, so that a later change of the working directory moves nothing, and
    symbolic links are followed, so that what is written replaces the file and not the link to it;
    all that belongs to the output lies beside that file.

    Raises:
        ConfigError: what is there is no regular file, or one file has two parts in the run.
    """
    places: list[_Place] = []
    if input_path is not None:
        real = Path(os.path.realpath(input_path))
        places.append(_Place("input_path", str(input_path), real, "", "the input", replaced=False))
    output = progress = None
    if output_path is not None:
        output = _target("output_path", output_path)
        places += _output_places(output_path, output)
    if progress_path is not None:
        progress = _target("progress_path", progress_path)
        places += _progress_places(progress_path, progress)
    for place in places:
        if place.replaced:
            _refuse_irregular(place.field, place.shown, place.path, follow=False)
    for one, other in itertools.combinations(places, 2):
        if _same(one.path, other.path):
            raise _met(one, other)
    return output, progress


def _target(field: str, given: str) -> str:
    """The file to replace.

    Raises:
        ConfigError: what is there is no regular file.
    """
    path = Path(given).absolute()
    # Before links are followed: those of /dev/stdout lead to a name that is on no disk.
    _refuse_irregular(field, given, path, follow=True)
    return os.path.realpath(path)


def _output_places(shown: str, output: str) -> Iterator[_Place]:
    yield _Place("output_path", shown, Path(output), "", "the output")
    failed = "file of failed rows"
    for path, role in (
        (temporary_path(Path(output)), "temporary file"),
        (failed_path(output), failed),
        (temporary_path(failed_path(output)), f"temporary {failed}"),
    ):
        name = _beside(shown, output, path)
        yield _Place("output_path", name, path, f"its {role}", f"the output's {role}")
    journal = journal_path(output)
    for path in (journal, Path(f"{journal}-wal"), Path(f"{journal}-shm")):
        name = _beside(shown, output, path)
        yield _Place("output_path", name, path, "its journal", "the output's journal", False)


def _progress_places(shown: str, progress: str) -> Iterator[_Place]:
    yield _Place("progress_path", shown, Path(progress), "", "the progress file")
    temporary = temporary_path(Path(progress))
    name = _beside(shown, progress, temporary)
    role = "temporary file"
    yield _Place("progress_path", name, temporary, f"its {role}", f"the progress file's {role}")


def _beside(shown: str, target: str, path: Path) -> str:
    """A file beside `target`, named as the user named that."""
    return shown + str(path).removeprefix(target)


def _refuse_irregular(field: str, shown: str, path: Path, *, follow: bool) -> None:
    """Refuse what must not be replaced by a file.

    Raises:
        ConfigError: it is a folder, a device, a pipe or the like, is read or written already as a
            standard stream, or cannot be looked at.
    """
    try:
        status = path.stat(follow_symlinks=follow)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{field}: cannot write {shown}: {error.strerror}; {_OTHER}") from error
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{field}: {shown} is a folder; give the path of a file")
    if not stat.S_ISREG(mode):
        raise ConfigError(
            f"{field}: {shown} is {_kind(mode)}, which a file must not replace; {_OTHER}"
        )
    for descriptor, stream in enumerate(("stdin", "stdout", "stderr")):
        if _is_open_as(descriptor, status):
            # Replaced, it would lose what is read from or written to it until the program ends.
            raise ConfigError(f"{field}: {shown} is this program's {stream}; {_OTHER}")


def _is_open_as(descriptor: int, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), status)
    except OSError:
        return False  # it is closed


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def _same(one: Path, other: Path) -> bool:
    if one == other:
        return True
    try:
        return one.samefile(other)  # a disk may hold both `a` and `A` for one name
    except OSError:
        return False  # one is not there, and so not the other


def _met(one: _Place, other: _Place) -> ConfigError:
    """The error for two places that are one; the later field is to be changed."""
    role = f", {other.role}," if other.role else ""
    is_repair = one.field == "input_path" and other.path.name.endswith(".failed.jsonl")
    instead = _REPAIR if is_repair and role else _OTHER
    return ConfigError(f"{other.field}: {other.shown}{role} is {one.known_as}; {instead}")

"""Files of Hugging Face repositories, from the cache or the network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fetch", "is_repository"]

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_repository(name: str) -> bool:
    """True if the name has the form of a repository: `owner/name`."""
    return _REPOSITORY.fullmatch(name) is not None


def fetch(repository: str, revision: str | None, choose: Callable[[list[str]], list[str]]) -> Path:
    """Have some files of a repository on this disk.

    Where the network is off (`HF_HUB_OFFLINE`) or away, takes them from the cache.

    Args:
        repository: `owner/name`.
        revision: a branch, tag or commit; the default branch if None.
        choose: picks the wanted names out of all names; its errors pass through.

    Returns:
        The first of the chosen files; the others lie beside it as in the repository.

    Raises:
        ConfigError: the repository or revision does not exist, or huggingface_hub is missing.
        EngineError: the hub cannot be reached and the cache does not have the files; `transient`.
    """
    try:
        # Import on use: it comes with the extra `hub`, and takes half a second.
        import huggingface_hub as hub  # noqa: PLC0415
        from huggingface_hub import constants, errors  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"{repository}: a Hugging Face repository needs: pip install oumi-llamacpp[hub]"
        ) from error

    at = f"the Hugging Face repository {repository}" + (f" at {revision}" if revision else "")
    reached = not constants.HF_HUB_OFFLINE
    if reached:
        try:
            chosen = choose(hub.HfApi().list_repo_files(repository, revision=revision))
            paths = [hub.hf_hub_download(repository, n, revision=revision) for n in chosen]
            return Path(paths[0])
        except (
            errors.RepositoryNotFoundError,
            errors.RevisionNotFoundError,
            errors.HFValidationError,
        ) as error:
            raise ConfigError(f"{at} does not exist, or is closed to your token") from error
        except ConfigError:
            raise
        except Exception:  # noqa: BLE001 - the hub's HTTP library has changed twice, and its
            reached = False  # errors with it; whatever it is, the cache is what is left
    try:
        folder = Path(hub.snapshot_download(repository, revision=revision, local_files_only=True))
    except errors.LocalEntryNotFoundError as error:
        where = f"the cache ({constants.HF_HUB_CACHE})"
        if constants.HF_HUB_OFFLINE:
            raise ConfigError(
                f"{at} is not in {where}, and HF_HUB_OFFLINE forbids to download it"
            ) from error
        reason = f"{at} cannot be reached, and is not in {where}"
        raise EngineError(Failure(FailureKind.TRANSIENT, reason)) from error
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return folder / choose(names)[0]

"""Load one plugin in a process of its own, under a time limit, and report what came of it.

    report = probe(ENGINE, "acme", timeout=30)

A plugin that hangs, prints, calls `sys.exit` or takes its process down with it does so there. The
child is this module, run as `python -m oumi_core.probe KIND NAME`; it prints one JSON object.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import attrs

from oumi_core.errors import ConfigError, OumiError
from oumi_core.registry import ENGINE, KINDS, PluginState, default_registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from oumi_core.registry import Kind

__all__ = ["DEFAULT_TIMEOUT", "ProbeReport", "main", "probe", "probe_all"]

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds that a plugin may take to load; the slowest known needs 11."""

_AT_ONCE: Final = 4

OK: Final = "ok"
BROKEN: Final = "BROKEN"


@attrs.frozen
class ProbeReport:
    """What loading one plugin showed.

    Attributes:
        name: the name that was asked for.
        kind: `engine`, `guided-decoder`, `batch-backend` or `retry-policy`.
        state: `ok`, or `BROKEN` if it did not load.
        distribution: where it comes from; None if nothing of that name is installed.
        version: the version of that distribution.
        error: why it did not load; None if it did.
        class_path: the class behind the name, `module:Class`.
        summary: the first line of the class's docstring.
        contract: the contract that an engine was written for.
        capabilities: what an engine says it can do: `Capabilities.to_dict()`.
        unknown_hooks: marked functions of its module that this core has no hook for.
    """

    name: str
    kind: str
    state: str
    distribution: str | None = None
    version: str | None = None
    error: str | None = None
    class_path: str | None = None
    summary: str | None = None
    contract: int | None = None
    capabilities: Mapping[str, Any] | None = None
    unknown_hooks: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        """True if the plugin loaded."""
        return self.state == OK

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        return {**attrs.asdict(self), "unknown_hooks": list(self.unknown_hooks)}


def probe(
    kind: Kind,
    name: str,
    timeout: float = DEFAULT_TIMEOUT,
) -> ProbeReport:
    """Load one plugin in a child process.

    Args:
        kind: what it is, such as `ENGINE`.
        name: its name, or `distribution:name`.
        timeout: seconds after which the child is killed, with all that it started.
    """
    # Files, not pipes: a process that the plugin left behind may hold a pipe open for ever.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        status = _run(kind, name, timeout, stdout.fileno(), stderr.fileno())
        stdout.seek(0)
        answer = stdout.read()
        stderr.seek(0)
        complaint = stderr.read().decode(errors="replace").strip()
    if status == 0 and answer:
        return ProbeReport(**json.loads(answer))
    error = f"did not load within {timeout:g} s" if status is None else _death(status, complaint)
    return _broken(kind, name, error)


def probe_all(
    kind: Kind = ENGINE,
    timeout: float = DEFAULT_TIMEOUT,
) -> tuple[ProbeReport, ...]:
    """Probe every plugin of one kind that is available, a few at once, in the listing's order.

    Args:
        kind: what to probe.
        timeout: seconds for each.
    """
    listed = default_registry().list_plugins(kind)
    names = [info.name for info in listed if info.state is PluginState.AVAILABLE]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return tuple(pool.map(lambda name: probe(kind, name, timeout), names))


def _run(kind: Kind, name: str, timeout: float, stdout: int, stderr: int) -> int | None:
    """Run the child; its exit status, or None if it had to be killed.

    It gets this process's `sys.path`, so that it finds what this process would find.
    """
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    child = subprocess.Popen(  # noqa: S603 - our own module under our own interpreter
        [sys.executable, "-P", "-m", "oumi_core.probe", kind.name, name],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environ,
        start_new_session=True,
    )
    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if child.poll() is None:  # out of time, or Ctrl-C here
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _death(status: int, complaint: str) -> str:
    """How a child ended that gave no answer."""
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    last = complaint.splitlines()[-1] if complaint else ""
    return f"its process ended {how} while loading it{last and f': {last}'}"


def _broken(kind: Kind, name: str, error: str) -> ProbeReport:
    distribution, version = _origin(kind, name)
    return ProbeReport(name, kind.name, BROKEN, distribution, version, error)


def _origin(kind: Kind, name: str) -> tuple[str, str] | tuple[None, None]:
    """Distribution and version, if the listing has one line for that name, and no more."""
    try:
        lines = default_registry().lookup(kind, name)
    except ConfigError:  # a wrong switch; `find` says so in full
        return None, None
    if len(lines) != 1:
        return None, None
    return lines[0].distribution, lines[0].version


def main(arguments: Sequence[str]) -> int:
    """The child: load the plugin, print the report as one line of JSON, and be gone.

    Args:
        arguments: the kind and the name.

    Returns:
        The exit status, if the arguments are wrong.
    """
    kinds = {kind.name: kind for kind in KINDS}
    if len(arguments) != 2 or arguments[0] not in kinds:  # noqa: PLR2004 - kind and name
        sys.stderr.write(f"usage: python -m oumi_core.probe {{{','.join(kinds)}}} NAME\n")
        return 2
    # Whatever the plugin prints goes to stderr; only the report goes to the true stdout.
    answer = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    report = _load(kinds[arguments[0]], arguments[1])
    with os.fdopen(answer, "w", encoding="utf-8") as stdout:
        stdout.write(json.dumps(report.to_dict()) + "\n")
    sys.stderr.flush()
    # Threads and exit handlers that the plugin left may hang or crash: they are not run.
    os._exit(0)


def _load(kind: Kind, name: str) -> ProbeReport:
    try:
        found = default_registry().find(kind, name)
    except OumiError as error:
        return _broken(kind, name, str(error))
    cls, (distribution, version) = found.cls, _origin(kind, name)
    docstring = (cls.__doc__ or "").strip()
    engine = kind == ENGINE
    return ProbeReport(
        name=name,
        kind=kind.name,
        state=OK,
        distribution=distribution,
        version=version,
        class_path=f"{cls.__module__}:{cls.__qualname__}",
        summary=docstring.splitlines()[0] if docstring else None,
        contract=cls.contract if engine else None,
        capabilities=cls.capabilities.to_dict() if engine else None,
        unknown_hooks=found.unknown_hooks,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

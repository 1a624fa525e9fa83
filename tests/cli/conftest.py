"""The real `oumi`, as a program with its streams redirected and as one on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import sysconfig
import termios
import time
from pathlib import Path
from typing import Any, Self, TextIO

import attrs
import pytest

import oumi_core

OUMI = Path(sysconfig.get_path("scripts")) / "oumi"
PLUGINS = Path(__file__).parent / "site"
"""What `pip install --target` would leave: the engines `stage` and `stage-wreck`."""

GENEROUS = 60.0
"""Seconds that nothing here comes near, unless it hangs."""

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()][A-Z0-9]|\r")

TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C typed there is a signal here
os.execv(sys.argv[1], sys.argv[1:])
"""


@attrs.frozen
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


class Screen:
    """A command on a terminal of its own: what it shows, and keys for it."""

    def __init__(self, command: list[str], environ: dict[str, str], folder: Path) -> None:
        self._main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *command],
            env=environ,
            cwd=folder,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        self._raw = ""
        self._seen = 0

    def read_until(self, text: str) -> str:
        """Wait for a text after the last one that was waited for; all that came up to it."""
        at = self._find(text, time.monotonic() + GENEROUS)
        if at < 0:
            pytest.fail(f"{text!r} did not come after: {self.text[self._seen :]!r}")
        before, self._seen = self._seen, at + len(text)
        return self.text[before : self._seen]

    def _find(self, text: str, deadline: float) -> int:
        while (at := self.text.find(text, self._seen)) < 0:
            if not self._read(deadline):
                return -1
        return at

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._main], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            piece = os.read(self._main, 65536)
        except OSError:  # the program has closed its end
            return False
        self._raw += piece.decode(errors="replace")
        return bool(piece)

    @property
    def raw(self) -> str:
        """All that was written, as the terminal gets it."""
        return self._raw

    @property
    def text(self) -> str:
        """All that was written, without colours and movements."""
        return ESCAPES.sub("", self._raw)

    def type(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def interrupt(self, answer: str) -> str:
        """Press Ctrl-C until the answer to it is shown, as a person would.

        Python's `input` looks for signals before it waits for a key; one that comes between the
        two is seen with the next.
        """
        for _ in range(int(GENEROUS)):
            self.type("\x03")
            if self._find(answer, time.monotonic() + 1) >= 0:
                break
        return self.read_until(answer)

    def end(self) -> int:
        """Wait for the program's own end; its exit code."""
        deadline = time.monotonic() + GENEROUS  # for all of it: some programs never fall silent
        while self._read(deadline):
            if time.monotonic() > deadline:
                pytest.fail(f"it goes on: {self.text[-200:]!r}")
        return self._process.wait(GENEROUS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._main)


@attrs.frozen
class Place:
    """A folder to work in, and `oumi` there."""

    folder: Path
    environ: dict[str, str]

    def oumi(
        self, *arguments: str | Path, stdin: str = "", bare: bool = False, **environ: str
    ) -> Done:
        """Run a command to its end, without a terminal; `bare`: without our other plugins."""
        command = [*(self._bare() if bare else [OUMI]), *arguments]
        return self._run(command, self.environ | environ, stdin)

    def shell(self, script: str) -> Done:
        """Run a line of bash, which finds `oumi`, to its end."""
        path = f"{self.programs}:{self.environ['PATH']}"
        return self._run(["bash", "-c", script], self.environ | {"PATH": path})

    def _run(
        self, command: list[str | Path], environ: dict[str, str], stdin: str | None = None
    ) -> Done:
        done = subprocess.run(
            command,
            env=environ,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=GENEROUS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def programs(self) -> Path:
        """Where `oumi` is."""
        return OUMI.parent

    def started(
        self,
        *arguments: str,
        stdin: int = subprocess.DEVNULL,
        stdout: int | TextIO = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start a command, without a terminal."""
        return subprocess.Popen(
            [OUMI, *arguments],
            env=self.environ,
            cwd=self.folder,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, path: Path, process: subprocess.Popen[str]) -> None:
        """Wait until a command has made a file."""
        while not path.exists():
            assert process.poll() is None, "the program has ended"
            time.sleep(0.01)

    def on_terminal(self, *arguments: str, bare: bool = False, **environ: str) -> Screen:
        """Start a command on a terminal of 100 columns; `bare`: as for `oumi`."""
        more = {"TERM": "xterm-256color", **environ}
        command = self._bare() if bare else [str(OUMI)]
        return Screen([*command, *arguments], self.environ | more, self.folder)

    def _bare(self) -> list[str]:
        """`oumi` where of all distributions of this checkout only core is installed."""
        site = self.folder / "bare"
        site.mkdir()
        (site / "oumi_core").symlink_to(Path(oumi_core.__file__).parent)
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if path.name.startswith("oumi_core-") or not path.name.startswith("oumi"):
                (site / path.name).symlink_to(path)
        start = f"import sys; sys.path.append({str(site)!r}); from oumi_core.cli import main; "
        return [sys.executable, "-S", "-c", f"{start}sys.exit(main())"]

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def cues(self, *texts: str) -> str:
        """Write `in.jsonl`, one row a text."""
        rows = [{"messages": [{"role": "user", "content": text}]} for text in texts]
        self.write("in.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
        return "in.jsonl"


@pytest.fixture
def here(tmp_path: Path) -> Place:
    """An empty folder but for `stage.yaml`, and an environment with no setting of the user's."""
    (tmp_path / "stage.yaml").write_text("engine: stage\nmodel: {model_name: demo}\n")
    outer = ("OUMI_", "XDG_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    paths = [str(PLUGINS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {"PYTHONPATH": os.pathsep.join(paths), "HOME": str(tmp_path / "home")}
    return Place(tmp_path, clean | environ)

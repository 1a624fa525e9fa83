"""Settings of the whole suite, and what may be missing where it runs."""

import shutil
import signal
import subprocess

import pytest
from hypothesis import settings

# An example may take its time on a machine that does other things too: a deadline would flake.
settings.register_profile("oumi", deadline=None)
settings.load_profile("oumi")

# A program ignores SIGINT if the one that starts it does, such as a job runner, or a script that
# ends a line with `&`. What a test then interrupts would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def strace() -> None:
    """Skips tests where strace cannot be used."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("strace may not trace here")

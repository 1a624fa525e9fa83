"""Settings of the whole suite, and what may be missing where it runs."""

import shutil
import subprocess

import pytest
from hypothesis import settings

# An example may take its time on a machine that does other things too: a deadline would flake.
settings.register_profile("oumi", deadline=None)
settings.load_profile("oumi")


@pytest.fixture(scope="session")
def strace() -> None:
    """Skips tests where strace cannot be used."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("strace may not trace here")

"""What every test may ask for: parts of the machine that can be missing, and the sandbox provider as a real process."""

import subprocess
import sys

import pytest
from machine import find


@pytest.fixture(scope="session")
def require():
    """`require("chromium")` answers with the program's path, skips the test without it, and fails it in CI."""
    return find


@pytest.fixture(scope="session")
def sandbox_url():
    """Address of a sandbox provider that lives as long as the test session. Its invoice is shared: use a marker."""
    command = [sys.executable, "-m", "proxyd.sandbox", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()
        assert process.wait(timeout=10) == 0

"""What every test may ask for: parts of the machine that can be missing, and the sandbox provider as a real process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "nginx": ("nginx",),
    "postgres": ("postgres",),
    "redis": ("redis-server",),
    "wrk": ("wrk",),
}
# Debian keeps servers where ordinary users have no PATH.
SEARCH = (
    *os.environ.get("PATH", "").split(os.pathsep),
    "/usr/sbin",
    *map(str, Path("/usr/lib/postgresql").glob("*/bin")),
)


@pytest.fixture(scope="session")
def require():
    """`require("chromium")` answers with the program's path, skips the test without it, and fails it in CI."""

    def find(name: str) -> str:
        for program in PROGRAMS[name]:
            if (path := shutil.which(program, path=os.pathsep.join(SEARCH))) is not None:
                return path
        if os.environ.get("ROUTER_TEST_REQUIRE") == "all":
            pytest.fail(f"{name} is not installed, and ROUTER_TEST_REQUIRE=all asks for it")
        pytest.skip(f"{name} is not installed")

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

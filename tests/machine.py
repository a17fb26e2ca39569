"""The programs that tests need of the machine: missing ones skip a test for a newcomer and fail it in CI.

ROUTER_TEST_REDIS (or _NGINX, ...) names another one than the one that is found: so Redis' tests run on Valkey.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

PROGRAMS: Mapping[str, tuple[str, ...]] = {
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


def find(name: str, programs: Mapping[str, tuple[str, ...]] = PROGRAMS, environ: Mapping[str, str] = os.environ) -> str:
    """The program's path; else skips the test, or fails it where ROUTER_TEST_REQUIRE=all."""
    if given := environ.get(f"ROUTER_TEST_{name.upper()}"):
        return given
    for program in programs[name]:
        if (path := shutil.which(program, path=os.pathsep.join(SEARCH))) is not None:
            return path
    raise _missing(f"{name} is not installed", environ)


def made(what: str, path: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The path of something that `make clients` puts there; else skips the test, or fails it likewise."""
    if not path.exists():
        raise _missing(f"{what}: run `make clients`", environ)
    return str(path)


def _missing(what: str, environ: Mapping[str, str]) -> BaseException:
    if environ.get("ROUTER_TEST_REQUIRE") == "all":
        return pytest.fail.Exception(f"{what}, and ROUTER_TEST_REQUIRE=all asks for it")
    return pytest.skip.Exception(what)

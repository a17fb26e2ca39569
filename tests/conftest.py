"""What every test may ask for: parts of the machine that can be missing, and the sandbox provider as a real process."""

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import find
from postgres_kit import PostgresServer

# What tests of faults choose by chance comes of one seed, in all processes of a parallel run: they inherit it.
os.environ.setdefault("ROUTER_FAULTS_SEED", str(random.SystemRandom().randrange(1_000_000)))

AREAS = ("faults", "e2e", "shared", "proxyd", "webapp")  # in the order in which they are run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests of faults have found. Their reports tell it, because they may come from another process."""
    reports = [report for several in terminalreporter.stats.values() for report in several]
    calls = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "call"]
    found = [
        (report.location[2], value) for report in calls for name, value in report.user_properties if name == "found"
    ]
    if found or any("tests/faults/" in report.nodeid and report.failed for report in calls):
        form = os.environ.get("ROUTER_FAULTS", "short")
        terminalreporter.write_sep("-", f"faults, {form}, ROUTER_FAULTS_SEED={os.environ['ROUTER_FAULTS_SEED']}")
        for test, value in found:
            terminalreporter.write_line(f"{test}: {value}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the folder it stands in, so that `-m proxyd` runs an area; long ones come first.

    Whoever of a parallel run has nothing left takes from the end of another's: there shall be short ones.
    """
    root = Path(__file__).parent

    def turn(item: pytest.Item) -> tuple[bool, int]:
        area = item.path.relative_to(root).parts[0]
        if area not in AREAS:
            return True, len(AREAS)
        item.add_marker(area)
        return item.get_closest_marker("long") is None, AREAS.index(area)

    items.sort(key=turn)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a case without the secret in it, which is another one in each process of a parallel run."""
    text = val.decode("latin-1") if isinstance(val, bytes) else val
    if isinstance(text, str) and re.search(r"[0-9a-fA-F]{40}", text):
        return ascii(re.sub(r"[0-9a-fA-F]{40,}", lambda hexes: f"({len(hexes[0])} hex)", text))[1:-1]
    return None


@pytest.fixture(scope="session")
def require() -> Callable[[str], str]:
    """`require("chromium")` answers with the program's path, skips the test without it, and fails it in CI."""
    return find


@pytest.fixture(scope="session")
def sandbox_url() -> Iterator[str]:
    """Address of a sandbox provider that lives as long as the test session. Its invoice is shared: use a marker."""
    command = [sys.executable, "-m", "proxyd.sandbox", "--bind", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()
        assert process.wait(timeout=10) == 0


@pytest.fixture(scope="session")
def postgres_server(require: Callable[[str], str]) -> Iterator[PostgresServer]:
    server = PostgresServer(Path(require("postgres")).resolve().parent)
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres(postgres_server: PostgresServer) -> str:
    """URL of an empty PostgreSQL of our own."""
    return postgres_server.url()

"""What the benchmarks share: a folder for the noise, databases and counters, nginx."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))  # the router as processes: harness.py

from stores import stores_of
from upstreams import Nginx, stream_server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the noise goes: logs of all processes, what wrk said, the figures of all rounds."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def stores(request, folder):
    """Databases and counters for the routers of this run."""
    with stores_of(folder, lambda: request.getfixturevalue("postgres")) as stores:
        yield stores


@pytest.fixture(scope="module")
def nginx(require, folder):
    require("wrk")
    nginx = Nginx(require("nginx"), folder)
    yield nginx
    nginx.process.terminate()
    nginx.process.wait(10)


@pytest.fixture(scope="module")
def events_url(folder):
    with stream_server(folder / "stream-server.log") as url:
        yield url

"""The storages that counters stand on, each in a data directory of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from counters_kit import Home
from hypothesis import settings
from redis_kit import RedisServer

# How long one example takes says how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# One line for each storage: where its counters are, seen from an empty data directory.
URLS = {
    "sqlite": "sqlite:///{data_dir}/counters.db",
    "redis": "redis+unix://{socket}",
}


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of our own, for the whole run."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(params=URLS)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """A data directory with a shared state, and counters that nobody has made yet."""
    socket = ""
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        server.empty()
        socket = str(server.socket)
    home = Home(tmp_path, URLS[request.param].format(data_dir=tmp_path, socket=socket))
    yield home
    home.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may hurt."""
    (tmp_path / "redis").mkdir()
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def server_home(server: RedisServer, tmp_path: Path) -> Iterator[Home]:
    """A data directory whose counters are on it."""
    home = Home(tmp_path, server.url)
    yield home
    home.close()

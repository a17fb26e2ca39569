"""What the benchmarks share: a folder for the noise, a database, nginx."""

import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))  # the router as processes: harness.py

from upstreams import Nginx, stream_server

DATABASE = os.environ.get("BENCH_DATABASE", "sqlite")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the noise goes: logs of all processes, what wrk said, the figures of all rounds."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def database(request):
    """Settings of a router's database: its own SQLite file, or a fresh database of PostgreSQL for each that asks."""
    if DATABASE == "sqlite":
        yield lambda _: {}
        return
    assert DATABASE == "postgresql", "BENCH_DATABASE is sqlite or postgresql"
    url = make_url(request.getfixturevalue("postgres"))
    engine = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")

    def fresh(name: str) -> dict[str, str]:
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        return {"DATABASE_URL": url.set(database=name).render_as_string(hide_password=False)}

    yield fresh
    engine.dispose()


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

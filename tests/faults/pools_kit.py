"""Two pools with data directories of their own on one PostgreSQL and one Redis server, as two machines have them."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from faulty import FaultyRouter, Make
from reckoning import Books
from redis_kit import RedisServer, Wire

_databases = itertools.count()


@dataclass
class Pools:
    """Both, and what they share. The provider is the first one's."""

    first: FaultyRouter
    second: FaultyRouter
    redis: RedisServer
    wire: Wire  # between the second one and Redis
    postgres: Path  # the folder of its socket

    def __iter__(self) -> Iterator[FaultyRouter]:
        return iter((self.first, self.second))

    def start(self) -> None:
        """Whatever of them does not run; and wait until they are ready."""
        for router in self:
            for part in ("proxy", "dashboard"):
                if part not in router.processes or router.processes[part].poll() is not None:
                    router.start(part)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        for router in self:
            router.wait_until_ready()

    def generation(self) -> int:
        books = Books(self.first)
        try:
            return books._counters.condition().generation
        finally:
            books.close()


@contextlib.contextmanager
def two_pools(make: Make, postgres: str, redis_folder: Path, **settings: str) -> Iterator[Pools]:
    """Both, started."""
    folder = Path(postgres.rpartition("=")[2])
    name = f"machines{next(_databases)}"
    with psycopg.connect(f"postgresql://router@/postgres?host={folder}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # the name is ours
    redis = RedisServer(redis_folder)
    shared = {
        "DATABASE_URL": f"postgresql://router@/{name}?host={folder}",
        "ROUTER_LIMITS_URL": redis.url,
        "ROUTER_ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "SECRET_KEY": "of both pools, for the tests, and long enough",
        **settings,
    }
    first = make(**shared)
    wire = Wire(redis.socket)
    shared["ROUTER_LIMITS_URL"] = wire.url
    providers = {f"ROUTER_{slug.upper()}_URL": first.sandbox_url for slug in first.credentials}
    second = make(**shared, **providers)
    second.sandbox_url = first.sandbox_url
    try:
        for part in ("sandbox", "proxy", "dashboard"):
            first.start(part)
        for part in ("proxy", "dashboard"):
            second.start(part)
        yield Pools(first, second, redis, wire, folder)
    finally:
        second.stop_all()
        first.stop_all()
        wire.close()
        redis.stop()

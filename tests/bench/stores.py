"""Where the routers under measurement keep their data and their counters: in files, or on servers of the run's own."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from process_kit import cpu_seconds
from redis_kit import RedisServer
from sqlalchemy import Engine, create_engine, make_url, text

DATABASE = os.environ.get("BENCH_DATABASE", "sqlite")
LIMITS = os.environ.get("BENCH_LIMITS", "sqlite")
MOST_ROUTERS = 32  # on one Redis server, each with a number of its own


class Stores:
    """A fresh database and fresh counters for each router that asks. Either server may be missing: then it is a file."""

    def __init__(self, postgresql: str | None, redis: RedisServer | None) -> None:
        self._url = None if postgresql is None else make_url(postgresql)
        self._engine: Engine | None = None
        if self._url is not None:
            url = self._url.set(drivername="postgresql+psycopg")
            self._engine = create_engine(url, isolation_level="AUTOCOMMIT")
        self._redis = redis
        self._numbers: dict[str, int] = {}  # by the router's name

    @property
    def on_servers(self) -> bool:
        return self._engine is not None or self._redis is not None

    @property
    def said(self) -> str:
        """Where the figures come from."""
        database = "SQLite" if self._engine is None else "PostgreSQL"
        return f"{database}, counters on {'SQLite' if self._redis is None else 'Redis'}"

    def settings(self, name: str) -> dict[str, str]:
        """Settings of a router with this name."""
        found = {}
        if self._engine is not None and self._url is not None:
            with self._engine.connect() as connection:
                connection.execute(text(f'CREATE DATABASE "{name}"'))
            found["DATABASE_URL"] = self._url.set(database=name).render_as_string(hide_password=False)
        if self._redis is not None:
            number = self._numbers[name] = len(self._numbers)
            # Over TCP, as other machines would come.
            found["ROUTER_LIMITS_URL"] = f"redis://127.0.0.1:{self._redis.port}/{number}"
        return found

    def lose_counters(self, name: str, data_dir: Path) -> None:
        """All of a router's counters vanish, under it."""
        if self._redis is not None:
            with self._redis.client(db=self._numbers[name]) as client:
                client.flushdb()
            return
        for path in data_dir.glob("counters.db*"):
            if path.suffix != ".lock":
                path.unlink()

    def redis_cpu(self) -> float | None:
        """Seconds of CPU that the Redis server has used; None without one."""
        return None if self._redis is None else cpu_seconds(self._redis.process.pid)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        if self._redis is not None:
            self._redis.stop()


@contextmanager
def stores_of(folder: Path, postgresql: Callable[[], str]) -> Iterator[Stores]:
    """What BENCH_DATABASE and BENCH_LIMITS say. `postgresql` is the URL of a server, asked for if it is wanted."""
    assert DATABASE in ("sqlite", "postgresql"), "BENCH_DATABASE is sqlite or postgresql"
    assert LIMITS in ("sqlite", "redis"), "BENCH_LIMITS is sqlite or redis"
    url = postgresql() if DATABASE == "postgresql" else None
    redis = None
    if LIMITS == "redis":
        (home := folder / "redis").mkdir()
        redis = RedisServer(home, "--databases", str(MOST_ROUTERS), priority=0)
    stores = Stores(url, redis)
    try:
        yield stores
    finally:
        stores.close()

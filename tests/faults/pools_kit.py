"""Two pools with data directories of their own on one PostgreSQL and one Redis server, as two machines have them."""

import contextlib
import itertools
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.fernet import Fernet
from faulty import FaultyRouter, Havoc, Make
from harness import START_SECONDS
from load_kit import Call, Key, Load
from postgres_kit import PostgresServer
from reckoning import Audit, limits_are_watched
from redis_kit import RedisServer
from relay import Relay
from sizes import SEED

_databases = itertools.count()
# What a pool may say when the counters it is asked about are being made anew, or a limit is met.
RIGHT = {"served", "limits_unavailable", "spend_held", "spend_exceeded"}


class Pools:
    """Both, and what they share. The provider is the first one's; the second one is at the end of two relays."""

    def __init__(self, make: Make, postgres: PostgresServer, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.postgres = postgres
        self.redis = RedisServer(folder)
        self.to_redis, self.to_postgres = Relay(self.redis.socket), Relay(postgres.socket)
        self.killed = Counter[str]()
        name = f"machines{next(_databases)}"
        url = postgres.make_database(name)
        shared = {
            "ROUTER_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "SECRET_KEY": "of both pools, for the tests, and long enough",
            **settings,
        }
        self.first = make(DATABASE_URL=url, ROUTER_LIMITS_URL=self.redis.url, **shared)
        self.second = make(
            bootstrap=False,
            DATABASE_URL=f"postgresql://router@127.0.0.1:{self.to_postgres.port}/{name}",
            ROUTER_LIMITS_URL=f"redis://127.0.0.1:{self.to_redis.port}",
            **shared,
            **{f"ROUTER_{slug.upper()}_URL": self.first.sandbox_url for slug in self.first.credentials},
        )
        self.second.sandbox_url = self.first.sandbox_url

    def __iter__(self) -> Iterator[FaultyRouter]:
        return iter((self.first, self.second))

    def start(self) -> None:
        """What does not run, until it is ready."""
        for router, parts in ((self.first, ("sandbox", "proxy", "dashboard")), (self.second, ("proxy", "dashboard"))):
            for part in parts:
                if part not in router.processes or router.processes[part].poll() is not None:
                    router.start(part)
        self.wait_until_ready()

    def stop(self) -> None:
        self.second.stop_all()
        self.first.stop_all()

    def close(self) -> None:
        self.stop()
        for relay in (self.to_redis, self.to_postgres):
            relay.close()
        self.redis.stop()

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        for router in self:
            router.wait_until_ready(seconds)

    def processes(self) -> set[int]:
        """Workers and ledger writers."""
        return {pid for router in self for pid in (*router.worker_pids(), *router.writer_pids())}

    def generation(self) -> int:
        audit = Audit(self.first)
        try:
            return audit._counters.status().generation
        finally:
            audit.close()

    # Faults

    def kill_redis(self, away_seconds: float = 0.0) -> None:
        """`kill -9`, and started again with what it had saved last, if it ever has."""
        self.redis.kill()
        self.killed["Redis"] += 1
        time.sleep(away_seconds)
        self.redis.start()

    def kill_postgres(self, away_seconds: float = 0.0) -> None:
        """All of it stops where it stands; started again, it repeats what its log has."""
        self.postgres.stop(signal.SIGQUIT)
        self.killed["PostgreSQL"] += 1
        time.sleep(away_seconds)
        self.postgres.start()

    def kill_a_connection(self, chance: random.Random) -> None:
        """`kill -9` of the process behind one of PostgreSQL's connections: it ends all others, and begins anew."""
        if pids := self.postgres.clients():
            self.first.kill("connection of PostgreSQL", chance.choice(pids))
            time.sleep(0.05)
            self.postgres.wait_until_it_answers()

    def promote_a_replica(self) -> None:
        """The primary is killed, and its replica takes its place and its address."""
        folder = self.folder / f"replica{self.killed['primary']}"
        folder.mkdir()
        replica = RedisServer(folder, "--replicaof", "127.0.0.1", str(self.redis.port))
        deadline = time.monotonic() + 20
        while replica.fact("replication", "master_link_status") != "up":
            assert time.monotonic() < deadline, "the replica does not follow"
            time.sleep(0.05)
        self.redis.kill()
        self.killed["primary"] += 1
        replica.tell("REPLICAOF", "NO", "ONE")
        replica.socket.replace(self.redis.socket)  # whoever connects to that name reaches it from now on
        self.redis.process, self.redis.port = replica.process, replica.port

    def cut_off(self, relay: Relay) -> contextlib.AbstractContextManager[None]:
        """Nothing gets through to or from the second pool meanwhile."""
        return self.first.stopped(relay.pid)

    def kills(self) -> Counter[str]:
        return self.first.killed + self.second.killed + self.killed


class PoolsHavoc:
    """Kills by chance of both pools' processes and of both servers."""

    def __init__(self, pools: Pools, chance: random.Random) -> None:
        self._pools, self._chance = pools, chance
        self._havocs = [Havoc(router, chance) for router in pools]

    def once(self) -> str:
        """Do one thing; its name."""
        name = self._chance.choices(
            ("a pool", "Redis", "older Redis", "PostgreSQL", "connection"), weights=(70, 8, 8, 4, 10)
        )[0]
        if name == "a pool":
            return self._chance.choice(self._havocs).once()
        time.sleep(self._chance.random() * 0.7)
        pools, away_seconds = self._pools, self._chance.random()
        if name == "PostgreSQL":
            pools.kill_postgres(away_seconds)
        elif name == "connection":
            pools.kill_a_connection(self._chance)
        else:
            if name == "older Redis":
                pools.redis.tell("SAVE")
                time.sleep(self._chance.random())
            pools.kill_redis(away_seconds)
        return name


@contextlib.contextmanager
def loaded(
    pools: Pools, keys: Sequence[Key], *, clients: int = 3, rate: float | None = None
) -> Iterator[tuple[Load, Load]]:
    """Load on both, and looks at both dashboards whether any limit is passed."""
    with (
        limits_are_watched(pools.first, keys, 0.1),
        limits_are_watched(pools.second, keys, 0.1),
        Load(pools.first, keys, seed=SEED, clients=clients, rate=rate) as on_first,
        Load(pools.second, keys, seed=SEED + 1, clients=clients, rate=rate) as on_second,
    ):
        yield on_first, on_second


def told(loads: Sequence[Load], since: float = 0.0) -> Counter[str]:
    return sum((load.told(since) for load in loads), Counter[str]())


def calls_of(loads: Sequence[Load]) -> list[Call]:
    return [made for load in loads for made in load.calls]

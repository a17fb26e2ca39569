"""A router under measurement: load on it, what that cost, and whether the books hold every bit of it."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness import ROOT, Router, eventually
from load import Load, Streams, hammer, hammer_in_turn, read_streams
from process_kit import memory_mb, tree
from processes import Cpu, cpu_of, workers_of
from sqlalchemy import Engine, func, select
from upstreams import CHAT, Nginx

from shared import db
from shared.models import Organization, UsageDaily, UsageRecord
from shared.money import from_usd

ALL_LIMITS = {
    "rate_limit_rpm": 1_000_000_000,
    "spend_limit_usd": "1000000",
    "spend_reset": "monthly",
    "allowed_providers": ["openai"],
    "allowed_models": ["gpt-4o*"],
    "allowed_ips": ["127.0.0.0/8"],
    "expires_at": "2099-01-01T00:00:00Z",
}
_PROMPT = (
    '"messages":[{"role":"system","content":"You are a helpful assistant that answers briefly."},{"role":"user",'
    '"content":"Tell me a short story about a router that counts every nano-dollar."}]}'
)
LIMITED = '{"model":"gpt-4o-mini","max_tokens":64,' + _PROMPT
UNLIMITED = '{"model":"gpt-4o-mini",' + _PROMPT
LEDGER_SECONDS = 90.0
REST_SECONDS = 0.7  # without a new request or row, after which no more is expected


@dataclass(frozen=True)
class Measured:
    """What one load cost. CPU in microseconds a request: of all processes of the proxy, and by kind."""

    load: Load
    sent: int  # requests, with those whose answers wrk did not wait for
    cpu_us: float
    by_kind: dict[str, float]


class Rig:
    """One router with its own data directory, and one key that has every limit there is."""

    def __init__(self, folder: Path, name: str, *, workers: int = 1, start: bool = True, **settings: str) -> None:
        """With `start` false there is a database and nothing else yet."""
        self.folder = folder
        self.router = Router(folder / name, workers=workers, **settings)
        if start:
            self.router.start_all()
        else:
            self.router.bootstrap()
        self.port = int(self.router.proxy_url.rpartition(":")[2])
        self.engine: Engine = db.create(self.router.settings.database_url)
        self.since = datetime.now(UTC).date()
        self.sent_before = 0
        with self.engine.connect() as connection:
            self.org_id = connection.scalar(select(Organization.id))
        if not start:
            return
        self.key_id, self.key = self.router.create_key(name="bench", **ALL_LIMITS)
        eventually(lambda: len(self.workers()) == workers, 30, f"{workers} workers")

    def stop(self) -> None:
        self.engine.dispose()
        self.router.stop_all()

    @property
    def supervisor(self) -> int:
        return self.router.processes["proxy"].pid

    def processes(self) -> list[int]:
        return tree(self.supervisor)

    def workers(self) -> list[int]:
        return workers_of(self.supervisor, self.port)

    def memory(self) -> tuple[float, float]:
        """Resident and proportional MB of the worker that has most."""
        return max(memory_mb(pid) for pid in self.workers())

    def cpu(self) -> Cpu:
        return cpu_of(self.supervisor, self.port)

    def requests(
        self, nginx: Nginx, *, connections: int, seconds: float, body: str = LIMITED, query: str = "", key: tuple[str, str] = ("", "")
    ) -> Measured:  # fmt: skip
        """Load the router; the CPU is read when the ledger has every row, because until then it is not paid in full."""
        key_id, secret = key if key[0] else (self.key_id, self.key)
        rows, before, cpu = self.rows(key_id), nginx.requests_seen(), self.cpu()
        url = f"{self.router.proxy_url}{CHAT}{query}"
        load = hammer(url, body, secret, connections=connections, seconds=seconds, folder=self.folder)
        sent, paid = self._at_rest(lambda: nginx.requests_seen() - before, lambda: self.rows(key_id) - rows)
        used = paid.since(cpu)
        assert load.answered > 0, f"no answer within {seconds} s, see {self.folder}"
        assert load.failed == 0, f"{load.failed} of {load.answered} requests failed, see {self.folder}"
        self.check_books(key_id, rows + sent)
        # wrk leaves at the end with one request in flight on each connection.
        assert load.answered <= sent <= load.answered + connections
        by_kind = {kind: seconds * 1e6 / sent for kind, seconds in used.items()}
        return Measured(load, sent, sum(by_kind.values()), by_kind)

    def streams(self, *, count: int, events: int, log: Path) -> tuple[Streams, float]:
        """Load the router with streams; with it the CPU of the worker in microseconds an event."""
        rows = self.rows(self.key_id)
        samples: list[Cpu] = []
        url = f"{self.router.proxy_url}{CHAT}"
        seen = read_streams(
            url, self.key, count=count, events=events, sample=lambda: samples.append(self.cpu()), log=log
        )
        assert seen.whole == count, f"only {seen.whole} of {count} streams came whole"
        self._at_rest(lambda: count, lambda: self.rows(self.key_id) - rows)
        self.check_books(self.key_id, rows + count)
        return seen, samples[1].since(samples[0])["worker"] * 1e6 / seen.events

    def many_keys(self, nginx: Nginx, keys: Sequence[str], *, connections: int, seconds: float) -> dict[str, float]:
        """CPU in microseconds a request by kind of process, the ledger included, with the keys in turn."""
        rows = self.wait_for_rows(nginx)
        cpu = self.cpu()
        url = f"{self.router.proxy_url}{CHAT}"
        load = hammer_in_turn(url, LIMITED, keys, connections=connections, seconds=seconds, folder=self.folder)
        assert load.failed == 0, f"{load.failed} of {load.answered} requests failed, see {self.folder}"
        sent = self.wait_for_rows(nginx) - rows
        return {kind: seconds * 1e6 / sent for kind, seconds in self.cpu().since(cpu).items()}

    def wait_for_rows(self, nginx: Nginx) -> int:
        """Wait until the ledger has a row for each request that this nginx has seen since the rig was made; their number.

        Only for a rig that has its nginx to itself.
        """
        return self._at_rest(lambda: nginx.requests_seen() - self.sent_before, self.rows_today)[0]

    def use_each(self, keys: Sequence[str], *, most_seconds: float) -> int:
        """Use each key at least once; how many were used, which is fewer when that takes too long."""
        used, ends = 0, time.monotonic() + most_seconds
        while used < len(keys) and time.monotonic() < ends:
            used += self._use_in_turn(keys[used:], seconds=5)
        return min(used, len(keys))

    def _use_in_turn(self, keys: Sequence[str], *, seconds: float) -> int:
        url = f"{self.router.proxy_url}{CHAT}"
        load = hammer_in_turn(url, LIMITED, keys, connections=32, seconds=seconds, folder=self.folder)
        assert load.failed == 0, f"{load.failed} of {load.answered} requests failed, see {self.folder}"
        return load.answered

    def rows_today(self) -> int:
        """Requests of all keys in the ledger, without those of earlier days with which a database was filled."""
        of_today = (UsageDaily.org_id == self.org_id, UsageDaily.day >= self.since)
        with self.engine.connect() as connection:
            return int(connection.scalar(select(func.sum(UsageDaily.requests)).where(*of_today)) or 0)

    def check_spend(self, key_id: str) -> None:
        """The counters of a key, as the API tells them, are the sum of its rows."""
        with self.engine.connect() as connection:
            cost = connection.scalar(select(func.sum(UsageRecord.cost_nanos)).where(UsageRecord.key_id == key_id))
        spend = self.router.key(key_id)["spend"]
        assert (key_id, spend["held_usd"], from_usd(spend["lifetime_usd"])) == (key_id, "0.00", int(cost or 0))

    def rows(self, key_id: str) -> int:
        """Requests in the ledger, by the sums that are posted with its rows."""
        with self.engine.connect() as connection:
            return int(connection.scalar(select(func.sum(UsageDaily.requests)).where(UsageDaily.key_id == key_id)) or 0)

    def check_books(self, key_id: str, expected: int) -> None:
        """Rows, sums and counters hold exactly what was sent: a run that is fast because it forgets is no run."""
        with self.engine.connect() as connection:
            of_rows = select(func.count(), func.sum(UsageRecord.cost_nanos)).where(UsageRecord.key_id == key_id)
            rows, cost = connection.execute(of_rows).one()
        assert rows == expected, f"{rows} rows in the ledger, {expected} requests sent"
        spend = self.router.key(key_id)["spend"]
        assert (spend["held_usd"], from_usd(spend["lifetime_usd"])) == ("0.00", int(cost or 0))
        assert sum(from_usd(row["cost_usd"]) for row in self.router.usage(key_id)) == int(cost or 0)

    def verify(self) -> None:
        """`ledger verify` agrees over all of it: rows, daily sums, totals of keys and counters."""
        command = [sys.executable, "-m", "flask", "--app", "wsgi", "ledger", "verify", "--json"]
        done = subprocess.run(
            command, cwd=ROOT, env=self.router.environ, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.stdout, done.stderr
        said = json.loads(done.stdout)
        assert said["differences"] == []

    def _at_rest(self, sent: Callable[[], int], rows: Callable[[], int]) -> tuple[int, Cpu]:
        """Wait until the ledger has a row for each request and no more of either come: their number, and the CPU then.

        wrk leaves requests behind that a busy worker has not even read, so that being level once is not the end.
        """
        ends, level_at = time.monotonic() + LEDGER_SECONDS, (-1, self.cpu())
        while (seen := (sent(), rows())) and time.monotonic() < ends:
            if seen[0] != seen[1]:
                level_at = (-1, level_at[1])
            elif seen[0] == level_at[0]:
                return level_at
            else:
                level_at = (seen[0], self.cpu())
            time.sleep(REST_SECONDS)
        raise AssertionError(f"{seen[0]} requests were sent, and the ledger has {seen[1]}")

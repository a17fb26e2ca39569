"""All parts of the accounting in one process: real counters, journals and ledger, clocks that are turned by hand."""

import importlib.util
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from ledger_kit import NOON, attempt, settlement
from sqlalchemy import Connection, Engine, text

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.ledger_writer import LedgerWriter
from proxyd.accounting.limited_models import RowsOfTold
from proxyd.accounting.membership import Membership
from proxyd.accounting.observing import Observer
from proxyd.accounting.records import Attempt
from proxyd.writer import HURRY_SECONDS
from shared.counters import Admitted, Batch, Charge, Counters, CountersUnavailable, Decision, Missing, connect
from shared.model_limits import ModelLimits


class HandClock:
    """Both clocks of the counters, and the monotonic one of the processes."""

    def __init__(self) -> None:
        self.wall_at = NOON
        self.steady_at = 1_000.0
        self.mono_at = 1_000.0
        self.mono_step = 0.01

    def wall(self) -> float:
        return self.wall_at

    def steady(self) -> float:
        return self.steady_at

    def monotonic(self) -> float:
        """Goes on by itself a little, so that whoever waits for a deadline comes to it."""
        self.mono_at += self.mono_step
        return self.mono_at

    def forward(self, seconds: float) -> None:
        self.wall_at += seconds
        self.steady_at += seconds
        self.mono_at += seconds


class Worker:
    """A worker of the router, without its sockets."""

    def __init__(self, router: "Router", **more: Any) -> None:
        """`more` is for its accounting."""
        self.meanwhile: list[Callable[[], object]] = []  # done once, while it waits for limits for models
        self._database = router.database
        self.counters = connect(router.counters_url, clock=router.clock, sleep=gevent.sleep)
        self.membership = Membership(
            router.directory,
            self.counters,
            lambda worker: router.database.enter(worker, router.machine),
            sync=False,
            limits_of=self._limits_of,
            terminate=self._terminate,
        )
        self.rows_of_told = RowsOfTold(self._limits_of, lambda: self.membership.generation)
        self.given_up = False  # a copy of its journal was imported
        self.left = False
        self.accounting = Accounting(
            self.membership, self.counters, router.database.seeds, monotonic=router.clock.monotonic, **more
        )
        self.membership.enter()

    @property
    def id(self) -> str:
        assert self.membership.journal is not None
        return self.membership.journal.worker_id

    def _limits_of(self, key_ids: Collection[str]) -> Mapping[str, ModelLimits]:
        found = self._database.model_limits(key_ids)
        while self.meanwhile:
            self.meanwhile.pop(0)()
        return found

    def _terminate(self) -> None:
        assert self.given_up, "a worker that lives was taken out of the counters"
        self.left = True

    def admit(self, charge: Charge, **fields: Any) -> tuple[int, Decision]:
        """One request; a key that the counters do not know is told to them as the gateway does it."""
        seq, name = self.accounting.new_id()

        def attempt_of(admitted: Admitted) -> Attempt:
            return attempt(
                id=name, key_id=charge.key_id, bound_nanos=charge.bound_nanos, held_nanos=charge.bound_nanos,
                day=admitted.day, second=admitted.second, **fields,
            )  # fmt: skip

        answer = self.accounting.admit(seq, charge._replace(seq=seq), attempt_of)
        if isinstance(answer, Missing):
            answer = self.accounting.admit(seq, charge._replace(seq=seq, loaded_in=answer.generation), attempt_of)
        return seq, answer

    def begin(self, bound_nanos: int = 1_000, limit_nanos: int | None = 10_000) -> int:
        """Admit a request, which must be possible."""
        seq, answer = self.admit(charge(bound_nanos=bound_nanos, spend_limit_nanos=limit_nanos))
        assert isinstance(answer, Admitted), answer
        return seq

    def settle(self, seq: int, cost_nanos: int) -> None:
        self.accounting.settle(seq, settlement(cost_nanos=cost_nanos))

    def keep(self) -> None:
        """What the worker does unasked, once."""
        self.accounting.maintenance.run_once()

    def kill(self) -> None:
        """As `kill -9` leaves it: the lock is free, and nobody has been told anything."""
        assert self.membership.journal is not None
        self.membership.journal.close()
        self.counters.close()


class Database(AccountingDatabase):
    """Its clock is turned by hand too."""

    def __init__(self, engine: Engine, clock: HandClock) -> None:
        super().__init__(engine)
        self._clock = clock

    def now(self, connection: Connection) -> datetime:
        return datetime.fromtimestamp(self._clock.steady_at, UTC)


class Router:
    """One data directory with its ledger writer and as many workers as are asked for.

    `counters_url` and `clock` are given where several of them share their counters.
    """

    def __init__(
        self,
        directory: Path,
        engine: Engine,
        *,
        machine: str = "machine_1",
        counters_url: str = "",
        clock: HandClock | None = None,
    ) -> None:
        self.directory = directory
        self.engine = engine
        self.machine = machine
        self.clock = clock or HandClock()
        self.counters_url = counters_url or f"sqlite:///{directory / 'counters.db'}"
        self.database = Database(engine, self.clock)
        self.ledger = Ledger(engine)
        self.killed: list[int] = []
        with engine.begin() as connection:
            if connection.scalar(text("select count(*) from accounting_state")) == 0:
                connection.execute(text("insert into accounting_state (id, generation) values (1, 0)"))
        self.writer = self.new_writer()
        self.writer.start()
        self.observer = connect(self.counters_url, clock=self.clock)
        self.workers: list[Worker] = []

    def new_writer(
        self, *, counters: Counters | None = None, ledger: Ledger | None = None, observer: Observer | None = None
    ) -> LedgerWriter:
        """As a restart makes it: it knows nothing but what stands there."""
        return LedgerWriter(
            self.directory,
            self.machine,
            counters or connect(self.counters_url, clock=self.clock),
            self.database,
            ledger or self.ledger,
            kill=lambda pid, _: self.killed.append(pid),
            monotonic=self.clock.monotonic,
            observer=observer,
        )

    def worker(self) -> Worker:
        worker = Worker(self)
        self.workers.append(worker)
        return worker

    def rounds(self, count: int = 1) -> int:
        """Rounds of the ledger writer, each so late that everything is due."""
        imported = 0
        for _ in range(count):
            self.clock.mono_at += 1.0
            imported += self.writer.round()
        return imported

    def lose_counters(self) -> None:
        """As `rm counters.db*` does."""
        for path in self.directory.glob("counters.db*"):
            path.unlink()

    def rest(self, *workers: Worker) -> None:
        """Go on without faults until nothing is left to do."""
        for _ in range(6):
            for worker in workers:
                try:
                    worker.keep()
                    worker.accounting.flush()
                except CountersUnavailable:
                    pass  # told again below
            self.rounds()

    def renew_observer(self) -> None:
        """Let it see the file that stands there now."""
        self.observer.close()

    def spent(self, key_id: str = "key_1") -> tuple[int, int]:
        """Spent and held, in all, as the counters say now."""
        self.renew_observer()
        row = self.observer.rows([key_id]).get(key_id)
        return (0, 0) if row is None else (row.lifetime, sum(held for _, held in row.days.values()))

    def ledger_rows(self) -> list[tuple[str, int]]:
        """Outcome and cost of each row, in the order of ids."""
        sql = "select outcome, cost_nanos from usage_records order by id"
        with self.engine.connect() as connection:
            return [(outcome, cost) for outcome, cost in connection.execute(text(sql))]

    def in_rounds(self, act: Callable[[], object]) -> object:
        """What `act` answers while the ledger writer goes on beside it."""
        greenlet = gevent.spawn(act)
        for _ in itertools.count():
            if greenlet.ready():
                return greenlet.get()
            self.writer.round()
            gevent.sleep(HURRY_SECONDS)  # as its process does
        raise AssertionError


def keep_sums_of_organizations(connection: Connection) -> None:
    """As the tables of an installation do it, by the migration that made them do so."""
    path = Path(__file__).parents[2] / "migrations" / "versions" / "0009_rotation.py"
    spec = importlib.util.spec_from_file_location("sums_of_organizations", path)
    assert spec is not None
    assert spec.loader is not None
    migration = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(migration)
    with Operations.context(MigrationContext.configure(connection)):
        if connection.dialect.name == "sqlite":
            migration._keep_sums_sqlite()
        else:
            migration._keep_sums_postgresql()


def drop_all(engine: Engine) -> None:
    """Leave a server to the next test as it was found. What triggers call goes with no table, so all goes at once."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


def charge(**fields: object) -> Charge:
    values = {
        "key_id": "key_1", "org_id": "org_1", "version": 1, "org_version": 1, "rate_limit_rpm": None,
        "spend_limit_nanos": 10_000, "spend_reset": "daily", "bound_nanos": 1_000,
    }  # fmt: skip
    return Charge(**{**values, **fields})  # type: ignore[arg-type] # named as the fields are


def telling(worker: Worker, tell: Callable[[], None]) -> list[Sequence[Decision]]:
    """What the counters answer this worker, after each of which another one tells them something."""
    real = worker.counters.apply_batch
    answers: list[Sequence[Decision]] = []

    def apply(batch: Batch) -> list[Decision]:
        found = real(batch)
        answers.append(found)
        tell()
        return found

    worker.counters.apply_batch = apply  # type: ignore[method-assign]
    return answers

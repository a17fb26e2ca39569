"""Counters as a running router keeps them beside a dashboard: of the database's generation, live, used by a worker."""

from datetime import date

from flask import Flask
from sqlalchemy import update

from shared.counters import (
    Admitted,
    Batch,
    Charge,
    Counters,
    End,
    KeyRow,
    Seed,
    SharedState,
    SystemClock,
    boot_id,
    connect,
)
from shared.models import AccountingState
from webapp.db import db

WORKER = "01WORKER"
ORG = "org_1"


class LiveCounters:
    """What a ledger writer and one worker do with them, through connections that are not the dashboard's."""

    def __init__(self, app: Flask, generation: int = 1) -> None:
        self._app = app
        self._generation = generation
        self._batches = 0
        settings = app.extensions["settings"]
        self.counters: Counters = connect(settings.limits_url, clock=_ClockOf(app))
        self.counters.attach(SharedState.create(settings.data_dir, boot_id()))
        with app.app_context(), db.engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(update(AccountingState).values(generation=generation))
        self.counters.begin_generation(generation, {})
        self.counters.go_live(generation)
        self.counters.register(WORKER, generation)

    def close(self) -> None:
        self.counters.close()

    def know(self, *key_ids: str) -> None:
        """Give keys a row, as an edit does; what the ledger says of them is not in it yet."""
        self.counters.publish(self._generation, dict.fromkeys(key_ids, 1), {})

    def seed(self, key_id: str, lifetime_nanos: int = 0, days: dict[date, int] | None = None) -> None:
        """Tell them what the ledger said of a key."""
        ordinals = {day.toordinal(): nanos for day, nanos in (days or {}).items()}
        self.counters.seed(self._generation, [Seed(key_id, lifetime_nanos, ordinals)])

    def spend(self, key_id: str, day: date, cost_nanos: int, held_nanos: int = 0, rows: tuple[str, ...] = ()) -> None:
        """One request of a key ends, which was admitted on `day` and held so much, on these rows of limits as well."""
        self._batch(ends=[End(0, key_id, day.toordinal(), held_nanos, cost_nanos, rows=rows)])

    def hold(self, key_id: str, nanos: int, spend_reset: str = "never") -> date:
        """A request of a key with a spend limit is in flight; the day of its admission."""
        row = self.row(key_id)
        self.counters.publish(self._generation, {}, {ORG: 1})  # as a worker does at the first use of one
        charge = Charge(key_id, ORG, row.version, 10**6, None, 10**15, spend_reset, nanos)
        (answer,) = self._batch(charges=[charge])
        assert isinstance(answer, Admitted), answer
        return date.fromordinal(answer.day)

    def row(self, key_id: str) -> KeyRow:
        return self.counters.rows([key_id])[key_id]

    def version(self, key_id: str) -> int | None:
        """The version of a key's policy that they were told; None: no such key."""
        row = self.counters.rows([key_id]).get(key_id)
        return None if row is None else row.version

    def org_version(self, org_id: str) -> int:
        return self.counters.org_version(org_id)

    def _batch(self, ends: list[End] | None = None, charges: list[Charge] | None = None) -> list[object]:
        self._batches += 1
        batch = Batch(WORKER, self._generation, self._batches, ends or (), charges or ())
        return list(self.counters.apply_batch(batch))


class _ClockOf(SystemClock):
    """The clock of an app, which its tests move."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def wall(self) -> float:  # type: ignore[override] # a method of the object here
        return float(self._app.extensions["clock"]().timestamp())

"""On PostgreSQL: whoever posts, corrects or edits tags waits for others in one order only, so never in a ring.

Each test holds a row of sums until all others wait, lets them go, and looks whether all came through.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dashboard_kit import environment
from databases_kit import begun, leaving_nothing
from flask import Flask
from sqlalchemy import text, update
from verify_kit import make_keys

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger, ReadCopy
from proxyd.accounting.records import Attempt, EndRecord, Settlement, crashed
from shared.config import Settings
from shared.models import ProxyKey
from webapp.db import db, writing
from webapp.verification.organizations import verify_organizations
from webapp.verification.values import Report

FIRST, SECOND = date(2026, 11, 23), date(2026, 11, 24)
NUMBERS = count()
Step = Callable[[], object]


class Scene:
    """An organisation with three keys, all of which have the tag `a`."""

    def __init__(self, app: Flask, url: str, org_id: str) -> None:
        self.app, self.url, self.org_id = app, url, org_id
        self.keys = make_keys(app, None, 3)
        self.ledger = Ledger(db.engine)
        for key_id in self.keys:
            self.retag(key_id, ["a"])

    def line(self, key: int, model: str, day: date = FIRST, cost: int = 5) -> tuple[Attempt, Settlement]:
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
        attempt = Attempt(
            f"req_{next(NUMBERS):08d}", self.org_id, self.keys[key], "openai", "/v1/chat/completions", model,
            streamed=False, bound_nanos=9, held_nanos=9, day=day.toordinal(), second=100, admitted_at=at, client_ip=None,
        )  # fmt: skip
        return attempt, Settlement(200, "ok", (), {"input_tokens": 1}, None, None, None, cost, 5, None, 1, 200)

    def retag(self, key_id: str, tags: list[str]) -> None:
        with writing() as session:
            session.execute(update(ProxyKey).where(ProxyKey.id == key_id).values(tags=tags))

    def blocked(self) -> int:
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        return int(found[0]) if found else 0

    def at_once(self, held: str, *steps: Step) -> None:
        """Begin one after the other while somebody holds what `held` selects; all have to come through."""
        faults: list[Exception] = []
        threads = [threading.Thread(target=self._run, args=(step, faults)) for step in steps]
        with self._holding(held):
            for number, thread in enumerate(threads, start=1):
                thread.start()
                deadline = time.monotonic() + 10
                while self.blocked() < number:
                    assert time.monotonic() < deadline, "nobody waits"
                    time.sleep(0.01)
        for thread in threads:
            thread.join()
        assert faults == []
        report = Report()
        verify_organizations(db.engine, report)
        assert report.differences == []

    @contextmanager
    def _holding(self, held: str) -> Iterator[None]:
        with psycopg.connect(self.url) as connection:
            connection.execute(f"SELECT 1 FROM tag_usage WHERE {held} FOR UPDATE")
            yield
            connection.rollback()

    def _run(self, step: Step, faults: list[Exception]) -> None:
        try:
            with self.app.app_context():
                step()
        except Exception as error:  # noqa: BLE001 - told at the end
            faults.append(error)


@pytest.fixture
def scene(postgres: str, tmp_path: Path) -> Iterator[Scene]:
    settings = Settings.from_env(environment(tmp_path / "made") | {"DATABASE_URL": postgres})
    report = begun(settings)
    with leaving_nothing(settings) as app, app.app_context():
        yield Scene(app, postgres, report.org_id)


def test_it_works(scene: Scene) -> None:
    """Two ledger writers: what is new for one of them comes after what stands there, with sums of models between."""
    scene.ledger.post_lines([scene.line(0, "m1"), scene.line(2, "m2")])
    scene.at_once(
        "TRUE",
        lambda: scene.ledger.post_lines([scene.line(0, "m1"), scene.line(1, "m2")]),
        lambda: scene.ledger.post_lines([scene.line(2, "m2")]),
    )


def test_a_ledger_writer_and_who_gives_another_key_a_tag(scene: Scene) -> None:
    """The one comes to the later day first, because its key has used something on it before."""
    scene.ledger.post_lines([scene.line(0, "m1", SECOND), *(scene.line(2, "m1", day) for day in (FIRST, SECOND))])
    scene.retag(scene.keys[2], ["z"])
    scene.at_once(
        f"day = '{FIRST}'",
        lambda: scene.ledger.post_lines([scene.line(0, "m1", SECOND), scene.line(1, "m1", FIRST)]),
        lambda: scene.retag(scene.keys[2], ["a"]),
    )


@pytest.mark.parametrize("edited", [0, 1])
def test_corrections_of_several_keys_and_who_edits_one_of_them(scene: Scene, edited: int) -> None:
    database = AccountingDatabase(db.engine)
    database.post_heartbeat("machine_1", 4, {})
    database.register("01W", "machine_1")
    start, read, reached = Position(), Position(1, 500, 1), Position(1, 900, 3)
    attempts = [scene.line(number, "m1")[0] for number in (0, 1)]
    scene.ledger.post("01W", [], start, read)
    scene.ledger.import_copies([ReadCopy("01W", read, read, [(one, crashed(one, None)) for one in attempts])])
    told = [EndRecord(number, number, one, scene.line(0, "m1", cost=3)[1]) for number, one in enumerate(attempts, 2)]
    scene.at_once(
        "tag = 'a'",
        lambda: scene.ledger.correct("01W", told, read, reached),
        lambda: scene.retag(scene.keys[edited], ["b"]),
    )
    with db.engine.connect() as connection:
        costs: Any = connection.scalar(text("SELECT sum(cost_nanos) FROM tag_usage WHERE tag <> ''"))
    assert int(costs) == 6

"""The accounting under every fault in any order, against an oracle that is a list of calls (invariants I1 to I14).

Of one machine on SQLite, and of two on one Redis and one PostgreSQL server, 500 runs each. `ROUTER_MODEL_EXAMPLES` says
how many instead; `make test-faults` does 10,000, and longer ones.
"""

import os
from pathlib import Path

import pytest
from accounting_faults import AccountingMachine
from accounting_kit import drop_all, keep_sums_of_organizations
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machines_machine import TwoMachines
from redis_kit import RedisServer

from proxyd.accounting import accounting as accounting_module
from shared import db, models
from shared.counters.redis import link

EXAMPLES = int(os.environ.get("ROUTER_MODEL_EXAMPLES", "500"))
STEPS = 20 if EXAMPLES <= 500 else 30
# A fraction of one on a quiet machine; several times as long where others work beside.
SECONDS_AN_EXAMPLE = 6


def runs() -> settings:
    return settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, print_blob=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@pytest.mark.faults
@pytest.mark.long
@pytest.mark.timeout(60 + SECONDS_AN_EXAMPLE * EXAMPLES)
def test_it_holds_under_every_fault(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(accounting_module, "POLL_SECONDS", 0.0)
    caplog.set_level("CRITICAL")
    run_state_machine_as_test(AccountingMachine, settings=runs())


@pytest.mark.faults
@pytest.mark.long
@pytest.mark.timeout(60 + SECONDS_AN_EXAMPLE * EXAMPLES)
def test_it_holds_under_every_fault_of_two_machines(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accounting_module, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(link, "ANSWER_SECONDS", 10.0)  # a fault is what the machine makes, not a busy processor
    caplog.set_level("CRITICAL")
    server = RedisServer(tmp_path)
    engine = db.create(postgres.replace("postgresql://", "postgresql+psycopg://"))
    engine.pool._pre_ping = False  # nobody ends its connections here, and each question would begin with another one
    models.metadata().create_all(engine)
    with engine.begin() as connection:
        keep_sums_of_organizations(connection)
    monkeypatch.setattr(TwoMachines, "server", server, raising=False)
    monkeypatch.setattr(TwoMachines, "engine", engine, raising=False)
    try:
        run_state_machine_as_test(TwoMachines, settings=runs())
    finally:
        drop_all(engine)
        server.stop()

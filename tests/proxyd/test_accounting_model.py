"""The accounting under every fault in any order, against an oracle that is a list of calls (invariants I1 to I14).

`ROUTER_MODEL_EXAMPLES` says how many runs, of one machine on a file and of two on a Redis server; `make test-faults`
does 10,000.
"""

import os
from pathlib import Path

import pytest
from accounting_faults import AccountingMachine
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machines_machine import TwoMachines
from redis_kit import RedisServer

from proxyd.accounting import accounting as accounting_module

EXAMPLES = int(os.environ.get("ROUTER_MODEL_EXAMPLES", "100"))
SETTINGS = settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None, print_blob=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.faults
@pytest.mark.timeout(300 if EXAMPLES <= 100 else 4 * 3_600)
def test_it_holds_under_every_fault(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(accounting_module, "STEP_SECONDS", 0.0)
    caplog.set_level("CRITICAL")
    run_state_machine_as_test(AccountingMachine, settings=SETTINGS)


@pytest.mark.faults
@pytest.mark.timeout(600 if EXAMPLES <= 100 else 8 * 3_600)
def test_it_holds_under_every_fault_of_two_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accounting_module, "STEP_SECONDS", 0.0)
    caplog.set_level("CRITICAL")
    server = RedisServer(tmp_path)
    monkeypatch.setattr(TwoMachines, "server", server, raising=False)
    try:
        run_state_machine_as_test(TwoMachines, settings=SETTINGS)
    finally:
        server.stop()

"""The ledger writer killed after each statement of its rounds: whoever takes over loses and doubles nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from accounting_kit import Router, Worker
from sqlalchemy import Engine, event

LIMIT = 10**12


class Killed(BaseException):
    """The ledger writer ends here."""


class Killer:
    """Kills after so many statements and commits; 0: never."""

    def __init__(self) -> None:
        self.left = 0

    def tick(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed

    @contextmanager
    def of(self, engine: Engine) -> Iterator["Killer"]:
        for name in ("before_cursor_execute", "commit"):
            event.listen(engine, name, self.tick)
        yield self
        for name in ("before_cursor_execute", "commit"):
            event.remove(engine, name, self.tick)

    def round_of_a_new_one(self, router: Router, statements: int) -> bool:
        """Whether it was killed within its start and first round."""
        writer = router.new_writer()
        self.left = statements
        try:
            writer.start()
            router.clock.mono_at += 1.0
            writer.round()
        except Killed:
            return True
        finally:
            self.left = 0
        return False


def a_worker_that_dies(router: Router) -> int:
    """Two of its attempts had ended, one is in flight; answers with what all of them cost."""
    dead = router.worker()
    router.workers.remove(dead)
    total = 0
    if dead.membership.complete:
        for cost in (30, 7):
            dead.settle(dead.begin(10, LIMIT), cost)
        dead.begin(10, LIMIT)
        total = 30 + 7 + 10
    dead.kill()
    return total


@pytest.mark.faults
def test_killed_after_any_statement_it_loses_and_doubles_nothing(router: Router, worker: Worker) -> None:
    expected = number = 0
    with Killer().of(router.engine) as killer:
        killed = True
        while killed:
            number += 1
            expected += a_worker_that_dies(router)
            if number % 3 == 0:
                router.lose_counters()
            killed = killer.round_of_a_new_one(router, number)
            router.writer = router.new_writer()
            router.writer.start()
            router.rest(worker)
    assert number > 15
    worker.begin(1_000, LIMIT)
    worker.accounting.flush()
    assert sum(cost for _, cost in router.ledger_rows()) == expected > 10 * 47
    assert router.spent() == (expected, 1_000)
    assert [journal.worker_id for journal in router.database.open_journals("machine_1")] == [worker.id]

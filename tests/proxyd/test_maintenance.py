"""When the counters are told of ends with which no batch came along."""

import time
from collections.abc import Iterator

import gevent
import pytest
from accounting_kit import Router, Worker

from proxyd.accounting.maintenance import LINGER_SECONDS, Maintenance

ROUNDS = 5 * LINGER_SECONDS  # real seconds, in which the timer runs out a few times


class Told:
    """A worker's maintenance by a clock that stands still, and how often it has told something."""

    def __init__(self, worker: Worker) -> None:
        self.now = 100.0
        self.times = 0
        self.looks = 0  # at the clock
        self._worker = worker
        ends = worker.accounting._ends
        self.maintenance = Maintenance(worker.membership, ends, self._flush, lambda: False, monotonic=self._monotonic)

    def _monotonic(self) -> float:
        self.looks += 1
        return self.now

    def _flush(self) -> None:
        self.times += 1
        self._worker.accounting.flush()


@pytest.fixture
def told(worker: Worker) -> Iterator[Told]:
    told = Told(worker)
    told.maintenance.start()
    yield told
    told.maintenance.stop()


def test_it_works(router: Router, worker: Worker, told: Told) -> None:
    worker.settle(worker.begin(), 300)
    told.now += 2 * LINGER_SECONDS
    with gevent.Timeout(10):
        while not told.times:
            gevent.sleep(0.001)
    assert router.spent() == (300, 0)


def test_an_end_that_has_just_come_waits_for_a_batch_however_old_the_last_one_is(worker: Worker, told: Told) -> None:
    for _ in range(3):
        seq = worker.begin()
        told.now += 100 * LINGER_SECONDS
        worker.settle(seq, 1)
        gevent.sleep(ROUNDS)
    assert told.times == 0
    assert len(worker.accounting._ends.pending) == 1


def test_an_end_behind_others_that_a_batch_took_along_is_told_as_well(worker: Worker, told: Told) -> None:
    first, second = worker.begin(), worker.begin()
    worker.settle(first, 1)
    worker.begin()
    worker.settle(second, 1)
    told.now += 2 * LINGER_SECONDS
    with gevent.Timeout(10):
        while worker.accounting._ends.pending:
            gevent.sleep(0.001)
    assert told.times == 1


def test_while_an_end_waits_the_loop_sleeps(worker: Worker, told: Told) -> None:
    """And does not look again and again until the moment has come."""
    worker.settle(worker.begin(), 1)
    gevent.sleep(ROUNDS)
    told.looks = 0
    began = time.monotonic()
    gevent.sleep(20 * LINGER_SECONDS)
    rounds = (time.monotonic() - began) / LINGER_SECONDS
    assert 1 <= told.looks <= 2 * rounds + 10  # one a round, and those of the chores

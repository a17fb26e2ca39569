"""Metrics come from the ledger writer and from workers as they go, and are told over HTTP."""

import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from accounting_kit import Router, Worker, charge
from ledger_kit import ended
from metrics_kit import OK, World, read
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from proxyd.monitoring.endpoint import MetricsEndpoint
from proxyd.monitoring.monitor import Monitor
from proxyd.monitoring.page import WorkerPage
from proxyd.monitoring.part import Part
from proxyd.monitoring.worker_monitor import FOLDER
from shared.config import Bind


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def observed(router: Router, worker: Worker) -> World:
    """A ledger writer that is observed, in the place of the one that was there."""
    world = World(router.directory)
    monitor = Monitor()
    monitor.add(world.metrics)
    router.writer = router.new_writer(observer=monitor)
    router.writer.start()
    router.rounds()
    world.at = router.clock.mono_at
    return world


def test_the_ledger_writer_tells_of_what_it_has_posted(router: Router, worker: Worker, observed: World) -> None:
    worker.settle(worker.begin(), 300)
    assert OK not in observed.shown()
    router.rounds()
    observed.status = router.writer.status
    shown = observed.shown()
    assert shown[OK] == 1
    assert (shown["router_counters_reachable"], shown["router_counters_live"], shown["router_counters_generation"]) == (
        1,
        1,
        1,
    )
    assert observed.status.imported == {worker.id: 1}


def test_the_lag_grows_while_the_database_is_away(router: Router, worker: Worker, observed: World) -> None:
    begun = router.writer.status.caught_up_at
    worker.settle(worker.begin(), 300)

    def refuse(*_: object) -> None:
        raise OperationalError("insert", {}, Exception("away"))

    event.listen(router.engine, "before_cursor_execute", refuse)
    router.rounds(3)
    event.remove(router.engine, "before_cursor_execute", refuse)
    assert router.writer.status.caught_up_at == begun
    assert OK not in observed.shown()
    router.rounds(2)
    assert router.writer.status.caught_up_at > begun
    assert observed.shown()[OK] == 1


def test_who_observes_badly_does_not_stop_the_ledger(
    router: Router, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Part):
        def on_ends(self, ends: object) -> None:
            raise ValueError("of the one who looks on")

    monitor = Monitor()
    monitor.add(Broken())
    router.writer = router.new_writer(observer=monitor)
    router.writer.start()
    worker.settle(worker.begin(), 300)
    with caplog.at_level(logging.ERROR):
        router.rounds(2)
    assert router.ledger_rows() == [("ok", 300)]
    assert "could not be told to operators" in caplog.text


def test_batches_are_counted_as_they_are_run(router: Router, tmp_path: Path) -> None:
    page = WorkerPage(tmp_path / FOLDER)
    worker = Worker(router, on_batch=page.count_batch)
    router.workers.append(worker)
    router.rounds()
    worker.begin()
    assert worker.admit(charge(bound_nanos=100_000))[1] is not None
    shown = World(tmp_path).shown()
    assert shown["router_admitted_requests_total"] == 1
    assert shown["router_admission_batch_size_count"] >= 2


# Over HTTP


@pytest.fixture
def endpoint(world: World) -> Iterator[MetricsEndpoint]:
    endpoint = MetricsEndpoint(Bind("127.0.0.1", 0), world.metrics, monotonic=lambda: world.at)
    yield endpoint
    endpoint.close()


def get(endpoint: MetricsEndpoint, path: str) -> tuple[int, str]:
    assert endpoint.address is not None
    try:
        with urlopen(f"{endpoint.address.url}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_prometheus_asks_over_http(world: World, endpoint: MetricsEndpoint) -> None:
    endpoint.keep()
    world.metrics.on_ends([ended(1)])
    status, text = get(endpoint, "/metrics")
    assert (status, read(text)[OK]) == (200, 1)
    assert get(endpoint, "/") == (404, "Metrics are at /metrics.\n")


def test_an_address_that_is_taken_is_tried_again(
    world: World, endpoint: MetricsEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.keep()
    assert endpoint.address is not None
    second = MetricsEndpoint(endpoint.address, world.metrics, monotonic=lambda: world.at)
    second.keep()
    assert second.address is None
    endpoint.close()
    second.keep()
    assert second.address is None  # not before a second is over
    world.at += 1.0
    second.keep()
    assert get(second, "/metrics")[0] == 200
    second.close()
    assert caplog.text.count("tried again") == 1

"""An answer that nobody else waits for is looked for at once, and not where that is in vain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counters_kit import Home, Worker, charge, kinds, money
from redis.connection import AbstractConnection
from redis_kit import RedisServer, Wire

from shared.counters import Admitted
from shared.counters.redis.link import LOOKS

BATCHES = 60


@pytest.fixture
def wire(server: RedisServer) -> Iterator[Wire]:
    wire = Wire(server.socket)
    yield wire
    wire.close()


@pytest.fixture
def worker(wire: Wire, tmp_path: Path) -> Iterator[Worker]:
    home = Home(tmp_path, wire.url)
    worker = Worker(home.live(1, "key")).register()
    worker.alone = True
    yield worker
    home.close()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each look for an answer found one."""
    looks: list[bool] = []
    real = AbstractConnection.read_response

    def read_response(connection: AbstractConnection, *arguments: Any, **options: Any) -> Any:
        if options.get("timeout") != 0:
            return real(connection, *arguments, **options)
        looks.append(False)
        answer = real(connection, *arguments, **options)
        looks[-1] = True
        return answer

    monkeypatch.setattr(AbstractConnection, "read_response", read_response)
    return looks


def send_all(worker: Worker) -> None:
    for _ in range(BATCHES):
        assert kinds(worker.send(charge(limit=10**9, bound=1))) == [Admitted]


def test_answers_that_take_longer_are_waited_for_and_hardly_ever_looked_for(
    wire: Wire, worker: Worker, looks: list[bool]
) -> None:
    wire.delay_seconds = 0.003
    send_all(worker)
    assert money(worker.counters) == (0, BATCHES, 0)
    assert looks == [False] * (LOOKS * 5)  # of the batches 1, 4, 9, 18 and 35


def test_whoever_has_company_does_not_look(worker: Worker, looks: list[bool]) -> None:
    worker.alone = False
    send_all(worker)
    assert not looks


def test_answers_that_come_at_once_are_found_by_looking(
    server: RedisServer, tmp_path: Path, looks: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.counters.redis.link.LOOKS", 100_000)  # however slow this machine is just now
    home = Home(tmp_path, server.url)
    worker = Worker(home.live(1, "key")).register()
    worker.alone = True
    send_all(worker)
    home.close()
    assert looks.count(True) == BATCHES

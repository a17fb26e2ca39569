"""Blocking work in native threads: few of them, and nobody waits for ever."""

import threading
import time
from collections.abc import Iterator

import gevent
import pytest

from proxyd.offload import OffloadTimeout, Threads


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hanging work waits for; opened at the end, so that its threads end."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_it_works() -> None:
    threads = Threads(2, 5)
    assert threads(pow, 2, 10) == 1024
    here = threading.get_ident()
    assert threads(threading.get_ident) != here


def test_what_the_work_raises_is_raised_here() -> None:
    threads = Threads(1, 5)
    with pytest.raises(ValueError, match="invalid literal"):
        threads(int, "x")
    assert threads(int, "1") == 1


def test_the_event_loop_goes_on_meanwhile(gate: threading.Event) -> None:
    threads = Threads(1, 5)
    working = gevent.spawn(threads, gate.wait, 5)
    for _ in range(3):
        gevent.sleep(0)
    assert not working.ready()
    gate.set()
    assert working.get(timeout=5) is True


def test_work_that_hangs_takes_no_more_threads_than_there_are_and_everybody_is_told(gate: threading.Event) -> None:
    began: list[int] = []

    def hang() -> None:
        began.append(1)
        gate.wait(30)

    threads = Threads(3, 0.1)
    at = time.monotonic()
    greenlets = [gevent.spawn(threads, hang) for _ in range(30)]
    gevent.joinall(greenlets, timeout=10)
    assert all(isinstance(greenlet.exception, OffloadTimeout) for greenlet in greenlets)
    assert len(began) == 3
    assert time.monotonic() - at < 5
    gate.set()
    with gevent.Timeout(5):
        while True:
            try:
                assert threads(int, "7") == 7
            except OffloadTimeout:
                continue
            break


def test_a_thread_that_comes_free_takes_who_waits(gate: threading.Event) -> None:
    threads = Threads(1, 5)
    first, second = gevent.spawn(threads, gate.wait, 5), gevent.spawn(threads, int, "3")
    gevent.sleep(0.01)
    assert not second.ready()
    gate.set()
    assert (first.get(timeout=5), second.get(timeout=5)) == (True, 3)


def test_whoever_is_cut_off_gives_its_thread_back(gate: threading.Event) -> None:
    threads = Threads(1, 5)
    cut = gevent.spawn(threads, gate.wait, 5)
    gevent.sleep(0.01)
    cut.kill()
    gate.set()
    assert threads(int, "3") == 3


def test_a_timeout_of_the_callers_own_is_the_callers(gate: threading.Event) -> None:
    threads = Threads(1, 5)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
        threads(gate.wait, 5)

"""The loop stays awake for what comes within microseconds, for one caller, and no longer than that is worth it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import gevent
import pytest
from gevent.event import Event
from gevent.exceptions import LoopExit
from gevent.monkey import get_original
from gevent.socket import wait_read
from socket_kit import connect, read_until, running, until, write

from proxyd.busy_poll import ENOUGH, BusyPoll
from proxyd.messages import Request, Response
from proxyd.server import server as server_module

HELD = b"GET /held HTTP/1.1\r\nhost: router\r\n\r\n"
WORTH_SECONDS = 0.05  # so long that no wait for a peer which answers at once takes longer, however busy the machine is


class Peer:
    """Answers each byte from a thread of the system's own, after as many seconds as it is told."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._ours, self._its = get_original("socket", "socketpair")()
        self._thread = get_original("threading", "Thread")(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while data := self._its.recv(1):
            get_original("time", "sleep")(self.seconds)
            self._its.sendall(data)
        self._its.close()

    def ask(self) -> None:
        self._ours.sendall(b"?")
        wait_read(self._ours.fileno())
        self._ours.recv(1)

    def close(self) -> None:
        self._ours.close()
        self._thread.join()


@pytest.fixture
def peer() -> Iterator[Peer]:
    with closing(Peer()) as peer:
        yield peer


@contextmanager
def polling(lone: Callable[[], bool], short_seconds: float = WORTH_SECONDS) -> Iterator[BusyPoll]:
    with closing(BusyPoll(lone, short_seconds)) as poll:
        yield poll


def asked_until_it_looks(poll: BusyPoll, peer: Peer) -> int:
    """How many short waits it took."""
    assert not poll.looking
    for number in range(1, 5_000):
        peer.ask()
        if poll.looking:
            return number
    raise AssertionError("it never looked")


def test_a_loop_whose_waits_are_short_stays_awake(peer: Peer) -> None:
    with polling(lambda: True) as poll:
        asked_until_it_looks(poll, peer)
        for _ in range(100):
            peer.ask()
        assert poll.looking
        peer.seconds = 0.8 * WORTH_SECONDS
        began = time.process_time()
        peer.ask()
        assert time.process_time() - began > 0.002  # asleep it is some microseconds


def test_what_does_not_come_in_time_is_slept_for(peer: Peer) -> None:
    with polling(lambda: True) as poll:
        asked_until_it_looks(poll, peer)
        gevent.sleep(2 * WORTH_SECONDS)
        assert not poll.looking
        began = time.process_time()
        gevent.sleep(0.3)
        assert time.process_time() - began < 0.1


def test_where_it_is_in_vain_each_time_it_is_tried_more_and_more_rarely(peer: Peer) -> None:
    taken = []
    with polling(lambda: True) as poll:
        for _ in range(3):
            taken.append(asked_until_it_looks(poll, peer))
            gevent.sleep(2 * WORTH_SECONDS)
    assert taken[0] >= ENOUGH - 1
    assert taken[1] >= 2 * ENOUGH - 1
    assert taken[2] >= 4 * ENOUGH - 1


def test_where_it_was_of_use_it_is_tried_again_as_soon_as_at_first(peer: Peer) -> None:
    with polling(lambda: True) as poll:
        for _ in range(3):
            asked_until_it_looks(poll, peer)
            gevent.sleep(2 * WORTH_SECONDS)
        rare = asked_until_it_looks(poll, peer)
        for _ in range(2 * ENOUGH):
            peer.ask()
        gevent.sleep(2 * WORTH_SECONDS)
        assert asked_until_it_looks(poll, peer) < rare / 2


def test_waits_that_are_long_begin_nothing(peer: Peer) -> None:
    peer.seconds = 0.002
    with polling(lambda: True, short_seconds=0.001) as poll:
        for _ in range(2 * ENOUGH):
            peer.ask()
            assert not poll.looking


def test_nobody_looks_in_company(peer: Peer) -> None:
    with polling(lambda: False) as poll:
        for _ in range(4 * ENOUGH):
            peer.ask()
            assert not poll.looking


def test_company_that_comes_ends_it(peer: Peer) -> None:
    company = False
    with polling(lambda: not company) as poll:
        asked_until_it_looks(poll, peer)
        company = True
        peer.ask()
        peer.ask()
        assert not poll.looking


def test_it_keeps_no_loop_running() -> None:
    """A loop in which nothing else is awaited ends, as it does without."""
    ended = []

    def run() -> None:
        hub = gevent.get_hub()
        with polling(lambda: True):
            with pytest.raises(LoopExit):
                hub.switch()
            ended.append(True)
        hub.destroy(destroy_loop=True)

    thread = get_original("threading", "Thread")(target=run)
    thread.start()
    thread.join(10)
    assert ended


class Questions:
    """In the place of what polls: keeps what a server would be asked."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], bool]] = []
        self.closed = 0

    def __call__(self, lone: Callable[[], bool]) -> "Questions":
        self.asked.append(lone)
        return self

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> Questions:
    questions = Questions()
    monkeypatch.setattr(server_module, "BusyPoll", questions)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    return questions


def test_a_caller_is_alone_while_no_other_has_a_request_in_hand(questions: Questions) -> None:
    release, waiting = Event(), []

    def handler(request: Request) -> Response:
        if request.path == "/held":
            waiting.append(request)
            release.wait()
        return Response(200, [], b"answer")

    with ExitStack() as stack, running(handler) as server:
        (lone,) = questions.asked
        assert lone()
        clients = [stack.enter_context(connect(server)) for _ in range(server_module.FEW)]
        for client in clients:
            write(client, b"GET / HTTP/1.1\r\nhost: router\r\n\r\n")
            assert read_until(client, b"answer")
        assert lone()
        write(clients[0], HELD)
        until(lambda: len(waiting) == 1)
        assert lone()
        write(clients[1], HELD)
        until(lambda: len(waiting) == 2)
        assert not lone()
        release.set()
        for client in clients[:2]:
            assert read_until(client, b"answer")
        until(lone)
        stack.enter_context(connect(server))
        until(lambda: not lone())  # too many for it to be worth a look at each
    assert questions.closed == 1


def test_with_one_core_nobody_looks(questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    with running(lambda _: Response(200, [], b"")):
        assert not questions.asked

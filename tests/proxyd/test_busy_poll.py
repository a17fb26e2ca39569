"""The loop stays awake for what comes within microseconds, for one caller, and no longer than that is worth it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import gevent
import pytest
from gevent import get_hub
from gevent.event import Event
from gevent.exceptions import LoopExit
from gevent.monkey import get_original
from gevent.socket import wait_read
from socket_kit import connect, read_until, running, until, write

from proxyd.busy_poll import LONG_COSTS, MOST_SCORE, SHORT_SECONDS, WORTH_LOOKING, BusyPoll
from proxyd.messages import Request, Response
from proxyd.server import server as server_module

HELD = b"GET /held HTTP/1.1\r\nhost: router\r\n\r\n"
LOOK_SECONDS = 2e-6
SHORT, LONG = SHORT_SECONDS / 2, SHORT_SECONDS * 2


class Loop:
    """Does with a `BusyPoll` what the event loop does, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lone = True
        self.asked = 0
        self.poll = BusyPoll(self._is_lone, clock=lambda: self.now)

    def _is_lone(self) -> bool:
        self.asked += 1
        return self.lone

    def waits(self, *seconds: float) -> float:
        """Wait so long, one wait after the other, and handle what came; how long it has looked in the last one."""
        looked = 0.0
        for one in seconds:
            looked = self._wait(one)
            self.now += 1.0  # what comes is handled, which is no part of a wait
        return looked

    def _wait(self, seconds: float) -> float:
        began = self.now
        self.poll.begins_to_wait()
        while self.poll.looking and self.now - began < seconds:
            self.now += LOOK_SECONDS
            self.poll.nothing_came()
            self.poll.begins_to_wait()
        looked = self.now - began
        self.now = max(self.now, began + seconds)
        self.poll.was_woken()
        return looked


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    with closing(loop.poll):
        yield loop


def test_short_waits_make_it_look(loop: Loop) -> None:
    assert loop.waits(*[SHORT] * WORTH_LOOKING) == 0
    assert loop.waits(SHORT) == pytest.approx(SHORT, abs=LOOK_SECONDS)
    assert loop.waits(*[SHORT] * 100) == pytest.approx(SHORT, abs=LOOK_SECONDS)


def test_waits_as_long_as_that_make_nothing(loop: Loop) -> None:
    assert loop.waits(*[LONG] * 100) == 0
    assert loop.waits(*[SHORT] * WORTH_LOOKING) == 0
    assert loop.waits(SHORT) > 0


def test_it_looks_no_longer_than_a_short_wait_takes(loop: Loop) -> None:
    loop.waits(*[SHORT] * 2 * WORTH_LOOKING)
    assert loop.waits(1.0) == pytest.approx(SHORT_SECONDS, abs=2 * LOOK_SECONDS)


def test_a_long_wait_costs_as_much_as_several_short_ones_bring(loop: Loop) -> None:
    loop.waits(*[SHORT] * (WORTH_LOOKING - 1), LONG)
    assert loop.waits(*[SHORT] * (LONG_COSTS + 1)) == 0
    assert loop.waits(SHORT) > 0


def test_a_long_wait_that_was_looked_through_costs_no_more(loop: Loop) -> None:
    loop.waits(*[SHORT] * (WORTH_LOOKING + LONG_COSTS))
    assert loop.waits(LONG) > 0
    assert loop.waits(SHORT) > 0
    loop.waits(LONG)
    assert loop.waits(SHORT) == 0


def test_nobody_looks_for_ever_for_what_was_worth_it_once(loop: Loop) -> None:
    loop.waits(*[SHORT] * 1_000)
    looked = [loop.waits(LONG) > 0 for _ in range(MOST_SCORE)]
    assert looked.count(True) == 1 + (MOST_SCORE - WORTH_LOOKING) // LONG_COSTS


def test_of_nine_waits_one_at_most_is_looked_through_for_nothing(loop: Loop) -> None:
    for shorts in range(2 * LONG_COSTS):
        in_vain = sum(loop.waits(*[SHORT] * shorts, LONG) > 0 for _ in range(500))
        if shorts < LONG_COSTS:
            assert in_vain <= 1 + (MOST_SCORE - WORTH_LOOKING) // LONG_COSTS
        elif shorts > LONG_COSTS:
            assert in_vain > 450


def test_nobody_looks_in_company(loop: Loop) -> None:
    loop.lone = False
    assert loop.waits(*[SHORT] * (6 * WORTH_LOOKING + 1)) == 0
    assert loop.asked == 6  # not before each wait
    loop.lone = True
    assert loop.waits(*[SHORT] * (WORTH_LOOKING - 1)) == 0
    assert loop.waits(SHORT) > 0


def test_company_that_comes_ends_it(loop: Loop) -> None:
    loop.waits(*[SHORT] * MOST_SCORE)
    loop.lone = False
    assert loop.waits(SHORT) == 0
    loop.lone = True
    assert loop.waits(*[SHORT] * (WORTH_LOOKING - 1)) == 0
    assert loop.waits(SHORT, SHORT) > 0


# In the real loop

WORTH_SECONDS = 0.05  # so long that hardly any wait for a peer which answers at once takes longer on a busy machine


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


@pytest.fixture
def poll() -> Iterator[BusyPoll]:
    with closing(BusyPoll(lambda: True, WORTH_SECONDS)) as poll:
        yield poll


def test_the_loop_stays_awake_and_sleeps_again(poll: BusyPoll, peer: Peer) -> None:
    for _ in range(100):
        peer.ask()
    peer.seconds = 0.8 * WORTH_SECONDS
    began = time.process_time()
    peer.ask()
    assert time.process_time() - began > 0.002  # asleep it is some microseconds
    gevent.sleep(2 * WORTH_SECONDS)
    began = time.process_time()
    gevent.sleep(0.3)
    assert time.process_time() - began < 0.1
    assert not poll.looking


def test_what_is_handled_is_no_part_of_a_wait(poll: BusyPoll, peer: Peer) -> None:
    """Neither what greenlets do when they are woken, nor what is done in callbacks of the loop."""

    def work() -> None:
        get_original("time", "sleep")(1.5 * WORTH_SECONDS)

    def looks_after_one_more() -> bool:
        work()
        get_hub().loop.run_callback(work)
        peer.ask()
        return poll.looking

    assert any(looks_after_one_more() for _ in range(3 * WORTH_LOOKING))


def test_closed_it_leaves_the_loop_to_itself(poll: BusyPoll, peer: Peer) -> None:
    for _ in range(100):
        peer.ask()
    poll.close()
    peer.seconds = 0.8 * WORTH_SECONDS
    began = time.process_time()
    peer.ask()
    assert time.process_time() - began < 0.02


def test_it_keeps_no_loop_running() -> None:
    """A loop in which nothing else is awaited ends, as it does without."""
    ended = []

    def run() -> None:
        hub = get_hub()
        with closing(BusyPoll(lambda: True)), pytest.raises(LoopExit):
            hub.switch()
        ended.append(True)
        hub.destroy(destroy_loop=True)

    thread = get_original("threading", "Thread")(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert ended


class Questions:
    """Stands in for `BusyPoll`, and keeps the `lone` that it was given."""

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
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
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
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1})
    with running(lambda _: Response(200, [], b"")):
        assert not questions.asked

"""How slowly a body may come, by a clock that is turned."""

from collections.abc import Callable

import pytest

from proxyd.messages import RequestTimeout
from proxyd.server import body
from proxyd.server.body import RequestBody
from proxyd.server.limits import ServerLimits
from proxyd.wire.http1 import RequestHead

KIB, MIB = 1024, 1024 * 1024
Pace = Callable[[int], tuple[float, int]]  # from how much has come, to what is waited for: seconds, and bytes


class Slow:
    """A connection over which a body comes at a pace."""

    buffer = b""
    limits = ServerLimits()

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.now = 0.0
        self.sent = 0

    def arm(self, seconds: float) -> None:
        assert seconds == self.limits.body_idle_seconds

    def disarm(self) -> None:
        pass

    def recv(self, size: int) -> bytes:
        seconds, sent = self._pace(self.sent)
        assert seconds < self.limits.body_idle_seconds
        assert sent <= size
        self.now += seconds
        self.sent += sent
        return b"x" * sent

    def send_all(self, data: bytes, stall_seconds: float) -> None:
        raise AssertionError

    def body_complete(self) -> None:
        pass


def head_of(length: int) -> RequestHead:
    return RequestHead("POST", "/", "", (), length, keep_alive=True, expect_continue=False, version=11)


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Pace], tuple[bool, float]]:
    """Whether a body comes whole, and how long it was waited for."""

    def read(length: int, pace: Pace) -> tuple[bool, float]:
        source = Slow(pace)
        monkeypatch.setattr(body, "monotonic", lambda: source.now)
        try:
            for _ in RequestBody(source, head_of(length)).chunks(length):
                pass
        except RequestTimeout:
            return False, source.now
        return True, source.now

    return read


Takes = Callable[[int, Pace], tuple[bool, float]]


def test_it_works(takes: Takes) -> None:
    assert takes(32 * MIB, lambda _: (1.0, 64 * KIB)) == (True, 512.0)


def test_w7_what_came_fast_before_is_no_credit(takes: Takes) -> None:
    begun = 32 * MIB - 128 * KIB
    whole, seconds = takes(32 * MIB, lambda sent: (0.001, 64 * KIB) if sent < begun else (29.0, 1))
    assert not whole
    assert seconds < 61


@pytest.mark.parametrize("length", [32 * MIB, 512 * MIB])
def test_w7_a_body_that_crawls_ends(takes: Takes, length: int) -> None:
    whole, seconds = takes(length, lambda sent: (0.001, 64 * KIB) if sent < length * 4 // 5 else (10.0, 11 * KIB))
    assert not whole
    assert seconds < 660 + length / (32 * KIB)


def test_a_pause_is_no_crime(takes: Takes) -> None:
    assert takes(MIB, lambda sent: (29.0 if sent % (256 * KIB) == 0 else 1.0, 32 * KIB))[0]


def test_l02_a_body_that_trickles_from_its_first_byte_ends(takes: Takes) -> None:
    whole, seconds = takes(MIB, lambda _: (1.0, 500))
    assert not whole
    assert seconds == pytest.approx(30 * 1024 / 524, abs=2)


@pytest.mark.parametrize(("rate", "whole"), [(22 * KIB, True), (16 * KIB, False)])
def test_a_slow_line_has_time(takes: Takes, rate: int, whole: bool) -> None:
    assert takes(32 * MIB, lambda _: (1.0, rate))[0] is whole

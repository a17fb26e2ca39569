"""Answers that come in pieces and are no events: each is passed on as it comes, but for what may be the last."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent
import orjson
import pytest
from gateway_kit import CHAT, GOOD, App, Gate, Sent
from gevent.event import Event
from gevent.server import StreamServer

from proxyd.messages import Request

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n\r\n"
Open = Callable[..., "Source"]


class Source:
    """A provider that sends its next piece when it is told to."""

    def __init__(self, kind: bytes, pieces: Sequence[bytes], length: int | None) -> None:
        self._kind, self._pieces, self._length = kind, pieces, length
        self._go = Event()
        self.server = StreamServer(("127.0.0.1", 0), self._serve)
        self.server.start()

    def step(self) -> None:
        self._go.set()
        gevent.sleep(0.05)

    def _serve(self, sock: Any, address: object) -> None:
        del address
        sock.recv(65536)
        framing = b"Transfer-Encoding: chunked" if self._length is None else b"Content-Length: %d" % self._length
        sock.sendall(HEAD % (self._kind, framing))
        for piece in self._pieces:
            self._go.wait()
            self._go.clear()
            sock.sendall(piece if self._length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
        self._go.wait()
        if self._length is None:
            sock.sendall(b"0\r\n\r\n")
        sock.close()


@pytest.fixture
def opened(gate: Gate) -> Iterator[Open]:
    made: list[Source] = []

    def open_(kind: bytes, pieces: Sequence[bytes], length: int | None = None) -> Source:
        source = Source(kind, pieces, length)
        made.append(source)
        gate.open(f"http://127.0.0.1:{source.server.server_port}")
        gate.store(GOOD)
        return source

    yield open_
    for one in made:
        one.server.stop(timeout=1)


def arrivals(gate: Gate, source: Source, pieces: int) -> tuple[list[bytes], bool]:
    """What the app has got after each piece of the provider's, and after the end; and whether it was settled by then."""
    got: list[bytes] = []
    held: list[str] = []  # of its key's money, when each piece had come
    headers = ((b"authorization", f"Bearer {gate.key}".encode()),)
    request = Request("POST", "/v1/chat/completions", "", headers, App(), Sent(orjson.dumps(CHAT)))

    def read() -> None:
        body = gate.gateway.handle(request).body
        assert not isinstance(body, bytes)
        for piece in body:
            got.append(piece)
            held.append(gate.ask(path="/v1/key", method="GET").json["spend"]["held_usd"])

    reader = gevent.spawn(read)
    gevent.sleep(0.05)
    found = []
    for _ in range(pieces):
        source.step()
        found.append(b"".join(got))
    source.step()
    reader.join(timeout=2)
    assert reader.successful()
    assert "0.00" not in held[:-1]
    return [*found, b"".join(got)], held[-1] == "0.00"


LINE = b'{"a": {"b": 1}}\n'


@pytest.mark.parametrize(
    ("kind", "pieces", "late"),
    [
        (b"text/plain", [b"one ", b"another", b"\n", b"three"], []),
        (b"text/vtt", [b"WEBVTT\n", b"\n", b"00:01 --> 00:02\nany\n"], []),
        (b"application/x-ndjson", [LINE, LINE, LINE], [0]),
        (b"application/json", [LINE.strip(), b"\n" + LINE.strip(), b"\n" + LINE, LINE], [0]),
        (b"application/json", [b'[{"a": 1}', b',{"a": 2}', b"]"], [2]),
        (b"application/json", [b'[{"a": 1}\n', b",\n", b'{"a": []', b"}]", b"\n"], [2, 3, 4]),
        (b"application/json", [b'{"a": "', b'{"', b"}"], [2]),
        (b"application/json", [b'{"a": {"b": 1}', b', "c": 2}'], [0, 1]),
    ],
)
def test_it_works(gate: Gate, opened: Open, kind: bytes, pieces: list[bytes], late: list[int]) -> None:
    """`late` are the pieces that may be the last, so that they are kept back until something follows."""
    found, settled = arrivals(gate, opened(kind, pieces), len(pieces))
    for number, got in enumerate(found[:-1]):
        whole = b"".join(pieces[: number + 1])
        assert (got == whole) is (number not in late), (number, got)
    assert found[-1] == b"".join(pieces)
    assert settled is (len(pieces) - 1 in late)
    (row,) = gate.rows()
    assert row.outcome == "ok"


@pytest.mark.parametrize("first", [b"{", b"WEBVTT"])
def test_of_an_answer_whose_length_is_told_the_last_byte_is_kept_back(gate: Gate, opened: Open, first: bytes) -> None:
    pieces = [first + b"a" * 700_000, b"b" * 700_000 + b"}", b"c}"]
    length = sum(map(len, pieces))
    found, settled = arrivals(gate, opened(b"application/json", pieces, length), len(pieces))
    assert [len(got) for got in found] == [len(pieces[0]), length - 2, length, length]
    assert settled

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.wire.sse import MANY_LINES, UNREAD, Event, EventDecoder, begins


def events(stream: bytes, sizes: list[int] | None = None) -> list[tuple[bytes, bytes]]:
    """All events of a stream fed in pieces of the given sizes, cyclically; checks that no byte is lost."""
    decoder, found, at = EventDecoder(), [], 0
    sizes = sizes or [len(stream) or 1]
    turn = 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    rest = decoder.rest()
    if rest is not None:
        found.append(rest)
    assert b"".join(event.raw for event in found) == stream
    return [(event.name, event.data) for event in found if event.data is not None]


def test_it_works() -> None:
    assert events(b'data: {"a":1}\n\nevent: done\ndata: x\n\n') == [(b"", b'{"a":1}'), (b"done", b"x")]


@pytest.mark.parametrize("beginning", [b"data: 1", b"data:", b"event: a", b": hello", b":", b"id:7", b"retry: 5"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n\n"])
def test_a_stream_is_known_by_its_beginning(before: bytes, beginning: bytes) -> None:
    assert begins(before + beginning) is True
    line = beginning.partition(b":")[0]
    for upto in range(len(before + line) + 1):
        assert begins((before + line)[:upto]) is None


@pytest.mark.parametrize(
    "body", [b"{", b"[", b" data: 1", b"\n{", b"dated: 1", b"data 1", b"<html>", b"\xef\xbbx", b"\x1f\x8b", b'"data:"']
)
def test_nothing_else_is_taken_for_a_stream(body: bytes) -> None:
    assert begins(body) is False


def test_every_split_gives_the_same_events() -> None:
    text = b"\xef\xbb\xbf: hello\n\nevent: a\r\ndata: 1\r\ndata: 2\r\n\r\ndata:3\r\rid: 7\nretry: 5\ndata: 4\n\n\n\ndata: [DONE]\n\n"
    whole = events(text)
    assert whole == [(b"a", b"1\n2"), (b"", b"3"), (b"", b"4"), (b"", b"[DONE]")]
    for first in range(1, len(text)):
        assert events(text, [first, len(text)]) == whole
    assert events(text, [1]) == whole


def test_line_ends_of_all_kinds() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        stream = b"event: e" + end + b"data: x" + end + b"data:  y" + end + end + b"data: z" + end + end
        assert events(stream) == events(stream, [1]) == [(b"e", b"x\n y"), (b"", b"z")]


def test_events_that_come_one_by_one() -> None:
    shapes = [
        b"data: a\n\n",
        b"data: \n\n",
        b"data:b\n\n",
        b"data: c\r\n\r\n",
        b"event: d\ndata: e\n\n",
        b": f\n\n",
        b"data: g\r\n\n",
    ]
    for first in shapes:
        for second in shapes:
            assert events(first + second, [len(first), len(second)]) == events(first + second, [1])


def test_comments_and_pings_have_no_data() -> None:
    assert events(b": OPENROUTER PROCESSING\n\n:\n\nevent: ping\n\ndata: 1\n\n") == [(b"", b"1")]


def test_an_event_without_its_empty_line_is_what_is_left() -> None:
    decoder = EventDecoder()
    assert decoder.feed(b"data: [DONE]") == []
    rest = decoder.rest()
    assert rest is not None
    assert rest.data == b"[DONE]"
    assert decoder.rest() is None


def test_large_events_stay_whole() -> None:
    payload = b"x" * 300_000
    assert events(b"data: " + payload + b"\n\n", [16_384]) == [(b"", payload)]


def test_an_event_above_the_limit_passes_without_data() -> None:
    decoder = EventDecoder(max_event_bytes=100)
    found = decoder.feed(b"data: " + b"x" * 200) + decoder.feed(b"x" * 20 + b"\n\ndata: 1\n\n")
    assert [event.data for event in found] == [None, None, b"1"]
    assert b"".join(event.raw for event in found) == b"data: " + b"x" * 220 + b"\n\ndata: 1\n\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\rx\n"], ids=["LF", "CRLF", "CR", "mixed"])
def test_w7_the_cost_of_a_large_event_is_proportional_to_its_size(end: bytes) -> None:
    """Four times the event may take no more than nine times as long, which is between linear and quadratic."""

    def seconds(size: int) -> float:
        line = b"data: " + b"x" * 1_000 + end
        stream = line * (size // len(line)) + end + end
        best = float("inf")
        for _ in range(3):
            decoder = EventDecoder()
            started = time.process_time()
            for at in range(0, len(stream), 1_000):
                decoder.feed(stream[at : at + 1_000])
            best = min(best, time.process_time() - started)
        return best

    assert seconds(8_000_000) < 9 * seconds(2_000_000)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize(
    ("line", "data"),
    [(b"data:", b""), (b"data:data:x", b"data:x"), (b"data: data: x", b"data: x"), (b"data:  x", b" x")],
)
def test_w7_an_event_of_many_lines_that_begin_alike_is_read(line: bytes, data: bytes, end: bytes) -> None:
    raw = (line + end) * (MANY_LINES + 1) + end
    assert events(raw + b"data: 1\n\n", [60_000]) == [(b"", b"\n".join([data] * (MANY_LINES + 1))), (b"", b"1")]


@pytest.mark.parametrize("other", [b"data: x", b": x", b"event: x", b"x"])
def test_w7_an_event_of_many_lines_of_several_kinds_is_not_looked_into(other: bytes) -> None:
    raw = b"data:\n" * MANY_LINES + other + b"\n\n"
    assert EventDecoder().feed(raw + b"data: 1\n\n") == [Event(raw, UNREAD, None), Event(b"data: 1\n\n", b"", b"1")]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"data: a", b"data:b", b"event: e", b":c", b"\n", b"\r", b"\r\n", b"\n\n", b"x", b"\xef\xbb\xbf"]
        )
    ),
    st.lists(st.integers(1, 7), min_size=1, max_size=5),
)
def test_the_grammar_decides_not_the_pieces(pieces: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(pieces)
    whole = _by_the_book(stream)
    assert events(stream, sizes) == whole
    assert events(stream) == whole


def _by_the_book(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The algorithm of the standard, line by line; what is left at the end is dispatched too, as we do."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    found, name, data = [], b"", list[bytes]()
    for line in [*re.split(rb"\r\n|\n|\r", stream), b""]:
        if not line:
            if data:
                found.append((name, b"\n".join(data)))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return found

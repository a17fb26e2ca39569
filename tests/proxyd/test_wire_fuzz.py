"""Whatever bytes come, in whatever pieces: no crash, one reading, and the same one that another parser (h11) has."""

import gzip
import zlib
from collections.abc import Callable

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.messages import Header, RequestError
from proxyd.wire.content_coding import ContentDecoder
from proxyd.wire.http1 import (
    ChunkedDecoder,
    ChunkLimits,
    HeadLimits,
    ProtocolError,
    RepeatedHead,
    RequestHead,
    find_head,
    find_response_head,
    parse_request_head,
    parse_response_head,
)

EXAMPLES = settings(max_examples=400, deadline=None)
LIMITS = HeadLimits(line_bytes=200, field_bytes=200, block_bytes=400, fields=12)

LINES = [
    b"GET / HTTP/1.1",
    b"POST /v1/x?y=z HTTP/1.1",
    b"POST / HTTP/1.0",
    b"GET  / HTTP/1.1",
    b"get / HTTP/1.1",
    b"PRI * HTTP/2.0",
]
NAMES = [
    b"Host",
    b"Content-Length",
    b"Transfer-Encoding",
    b"Connection",
    b"Expect",
    b"X-A",
    b"X_A",
    b"Content-Length ",
    b" X",
    b"x\x00",
]
VALUES = [b"a", b"router.test", b"3", b"03", b"+3", b"3, 3", b"chunked", b"chunked, chunked", b"x\tchunked", b"close", b"keep-alive, x-a", b"100-continue", b"", b"\x0b", b"\xff", b"a\rb", b"9" * 30]  # fmt: skip
ENDS = [b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\n\r\n", b"\n\n"]
FIELDS = st.tuples(st.sampled_from(NAMES), st.sampled_from([b":", b": ", b":\t", b"", b" : "]), st.sampled_from(VALUES), st.sampled_from(ENDS)).map(b"".join)  # fmt: skip
PIECES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def heads(lines: list[bytes]) -> st.SearchStrategy[bytes]:
    """Heads that are nearly right, and what comes of one changed byte."""
    first = st.sampled_from(lines)
    usual = st.sampled_from([b"\r\nHost: a\r\n", b"\r\n"])
    whole = st.tuples(first, usual, st.lists(FIELDS, max_size=4).map(b"".join), st.just(b"\r\n")).map(b"".join)
    return whole | st.tuples(whole, st.integers(0, 200), st.binary(min_size=1, max_size=2)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    )


def in_pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(data[at : at + size])
        at += size
    return pieces


def read_request(pieces: list[bytes]) -> tuple[object, ...]:
    """What a connection makes of it: a head and what follows, a refusal's status, or nothing yet."""
    buffer, seen = b"", 0
    try:
        for position, piece in enumerate(pieces):
            buffer += piece
            end = find_head(buffer, seen, LIMITS)
            if end > 0:
                rest = buffer[end:] + b"".join(pieces[position + 1 :])
                return "head", parse_request_head(buffer[:end], LIMITS), rest
            seen = len(buffer)
    except RequestError as error:
        return "refused", error.status >= 400
    return ("incomplete",)


@EXAMPLES
@given(heads(LINES) | st.binary(max_size=80), PIECES)
def test_a_request_has_one_reading_however_it_is_cut(data: bytes, sizes: list[int]) -> None:
    whole, cut = read_request([data]), read_request(in_pieces(data, sizes))
    if whole[0] == "incomplete" or cut[0] == "incomplete":
        assert "head" not in (whole[0], cut[0])
    else:
        assert whole == cut


@EXAMPLES
@given(heads(LINES))
def test_a_request_that_is_taken_is_read_as_another_parser_reads_it(data: bytes) -> None:
    found = read_request([data])
    if found[0] != "head":
        return
    head = found[1]
    assert isinstance(head, RequestHead)
    other = h11.Connection(h11.SERVER)
    other.receive_data(data)
    try:
        event = other.next_event()
    except h11.RemoteProtocolError:
        return  # It is stricter; then there is no other reading.
    assert isinstance(event, h11.Request)
    assert event.method.decode() == head.method
    assert event.target.decode() == head.path + (f"?{head.query}" if "?" in event.target.decode() else "")
    theirs = [(bytes(name), bytes(value)) for name, value in event.headers]
    assert _plain(theirs) == _plain(list(head.headers))
    framed = dict(theirs)
    if b"transfer-encoding" in framed:
        assert head.length is None
    else:
        assert head.length == int(framed.get(b"content-length", b"0"))


def _plain(headers: list[Header]) -> list[Header]:
    """Without what we drop on purpose, and lengths as numbers: 03 is 3."""
    return [
        (name, value.lstrip(b"0") or b"0" if name == b"content-length" else value.lower() if name == b"transfer-encoding" else value)
        for name, value in headers
        if b"_" not in name
    ]  # fmt: skip


@EXAMPLES
@given(heads([b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No", b"HTTP/1.0 200 OK", b"HTTP/1.1 099 x", b"HTTP/1.1 200", b"HTTP/2 200"]), PIECES, st.sampled_from(["GET", "HEAD"]))  # fmt: skip
def test_a_response_has_one_reading_however_it_is_cut(data: bytes, sizes: list[int], method: str) -> None:
    def read(pieces: list[bytes]) -> tuple[object, ...]:
        buffer, seen = b"", 0
        try:
            for position, piece in enumerate(pieces):
                buffer += piece
                end = find_response_head(buffer, seen, 400)
                if end > 0:
                    rest = buffer[end:] + b"".join(pieces[position + 1 :])
                    return "head", parse_response_head(buffer[:end], method), rest
                seen = len(buffer)
        except ProtocolError:
            return ("refused",)
        return ("incomplete",)

    whole, cut = read([data]), read(in_pieces(data, sizes))
    if whole[0] == "incomplete" or cut[0] == "incomplete":
        assert "head" not in (whole[0], cut[0])
    else:
        assert whole == cut


CHUNKS = st.lists(
    st.sampled_from([b"0", b"1", b"5", b"A", b"fffffffff", b"\r\n", b"\n", b"\r", b";x=y", b"abc", b"hello", b" ", b"x: y", b"0\r\n\r\n", b"5\r\nhello\r\n", b"3;e\r\nabc\r\n"])
).map(b"".join)  # fmt: skip


@EXAMPLES
@given(CHUNKS, PIECES)
def test_a_chunked_body_has_one_reading_however_it_is_cut(data: bytes, sizes: list[int]) -> None:
    def read(pieces: list[bytes]) -> tuple[bytes, object]:
        decoder = ChunkedDecoder(ChunkLimits())
        payload = b""
        for position, piece in enumerate(pieces):
            try:
                payload += decoder.feed(piece)
            except ProtocolError:
                return b"", "refused"
            if decoder.done:
                return payload, decoder.leftover + b"".join(pieces[position + 1 :])
        return payload, None

    assert read([data]) == read(in_pieces(data, sizes))


@EXAMPLES
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6), st.sampled_from([b"", b";a=b", b';a="b"']), PIECES)
def test_what_was_chunked_comes_out_whole(payloads: list[bytes], extension: bytes, sizes: list[int]) -> None:
    framed = b"".join(b"%x%b\r\n%b\r\n" % (len(payload), extension, payload) for payload in payloads)
    decoder = ChunkedDecoder(ChunkLimits())
    pieces = in_pieces(framed + b"0\r\nx: y\r\n\r\n", sizes)
    assert b"".join(map(decoder.feed, pieces)) == b"".join(payloads)
    assert decoder.done
    assert decoder.leftover == b""


@EXAMPLES
@given(st.sampled_from([b"0", b"3", b"12", b"007"]), st.integers(0, 120), st.binary(max_size=3))
def test_a_head_is_recognised_only_as_what_it_is(length: bytes, place: int, change: bytes) -> None:
    raw = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\nAuthorization: Bearer k\r\n\r\n" % length
    remembered = RepeatedHead.of(raw, parse_request_head(raw, HeadLimits()), HeadLimits())
    assert remembered is not None
    changed = raw[:place] + change + raw[place + 1 :]
    if remembered.recognises(changed):
        assert remembered.head == parse_request_head(changed, HeadLimits())


@EXAMPLES
@given(
    st.sampled_from([b"gzip", b"deflate", b"x-gzip", b"br", b"", b"identity", b"gzip, gzip"]),
    st.binary(max_size=200),
    st.sampled_from([bytes, gzip.compress, zlib.compress, lambda data: gzip.compress(data) * 2]),
    st.integers(0, 60),
    st.binary(max_size=2),
    PIECES,
)
def test_whatever_is_decoded_is_the_same_however_it_is_cut(
    coding: bytes, plain: bytes, pack: Callable[[bytes], bytes], place: int, change: bytes, sizes: list[int]
) -> None:
    packed = pack(plain)
    data = packed[:place] + change + packed[place + len(change) :]

    def decode(pieces: list[bytes]) -> tuple[bytes, bool, bool]:
        decoder = ContentDecoder(coding)
        found = b"".join(map(decoder.feed, pieces))
        return (b"" if decoder.broken else found), decoder.broken, decoder.complete

    assert decode([data]) == decode(in_pieces(data, sizes))


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"G", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"])
def test_the_first_bytes_of_anything(data: bytes) -> None:
    assert read_request([data])[0] in ("incomplete", "refused")

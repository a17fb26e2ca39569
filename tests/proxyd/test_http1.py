"""HTTP/1.1 heads and bodies as values: limits, framing, decoders. What is refused over sockets: test_server_smuggling.py."""

import pytest

from proxyd.messages import BadRequest, RequestTooLarge
from proxyd.wire.http1 import (
    ChunkedDecoder,
    ChunkLimits,
    CloseDecoder,
    HeadLimits,
    LengthDecoder,
    ProtocolError,
    parse_request_head,
    parse_response_head,
    request,
    request_head,
    response_head,
)

HOST = b"Host: router.test\r\n"
NEXT = b"GET /second HTTP/1.1\r\n" + HOST + b"\r\n"
CL = b"Content-Length: "
TE = b"Transfer-Encoding: "
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST /first HTTP/1.1\r\n") -> bytes:
    return line + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def test_it_works() -> None:
    head = parse_request_head(
        b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: a:8080\r\nX-Api-Key: k \r\nContent-Length: 3\r\n\r\n",
        HeadLimits(),
    )
    assert (head.method, head.path, head.query, head.length) == ("POST", "/v1/messages", "beta=true", 3)
    assert head.headers == ((b"host", b"a:8080"), (b"x-api-key", b"k"), (b"content-length", b"3"))
    assert head.keep_alive
    assert not head.expect_continue


def test_h19_names_with_underscores_are_dropped() -> None:
    head = parse_request_head(post(b"Content_Length: 5", b"Authorization_: x", b"X_Forwarded_For: 1"), HeadLimits())
    assert head.headers == ((b"host", b"router.test"),)
    assert head.length == 0


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        (b"A", 16 * 1024 - 1, None),
        (b"A", 16 * 1024, 431),
    ],
)
def test_l05_header_field_limit(field: bytes, value: int, status: int | None) -> None:
    refused(post(field + b": " + b"x" * value), status)


@pytest.mark.parametrize(("count", "status"), [(99, None), (100, 431)])
def test_l05_header_count_limit(count: int, status: int | None) -> None:
    refused(post(*[b"A%d: b" % number for number in range(count)]), status)


def test_l05_line_and_block_limits() -> None:
    line = b"GET /%b HTTP/1.1\r\n"
    fixed = len(line) - 2 - 2
    refused(line % (b"x" * (16 * 1024 - fixed)) + HOST + b"\r\n", None)
    refused(line % (b"x" * (16 * 1024 - fixed + 1)) + HOST + b"\r\n", 414)
    block = post(*[b"A: " + b"x" * 9_990] * 6)
    rest = 64 * 1024 - len(block) - len(b"B: \r\n")
    refused(block[:-2] + b"B: " + b"x" * rest + b"\r\n\r\n", None)
    refused(block[:-2] + b"B: " + b"x" * (rest + 1) + b"\r\n\r\n", 431)


def refused(raw: bytes, status: int | None) -> None:
    if status is None:
        parse_request_head(raw, HeadLimits())
        return
    with pytest.raises(BadRequest) as caught:
        parse_request_head(raw, HeadLimits())
    assert caught.value.status == status


def test_a_length_beyond_all_bodies_is_too_large() -> None:
    with pytest.raises(RequestTooLarge):
        parse_request_head(post(CL + b"1" + b"0" * 18 + b"1"), HeadLimits())


def test_chunked_decoder_knows_its_end() -> None:
    decoder = ChunkedDecoder(ChunkLimits())
    assert decoder.feed(b"4\r\nabcd\r\n10\r\n0123") == b"abcd0123"
    assert decoder.feed(b"456789abcdef\r") == b"456789abcdef"
    assert not decoder.done
    assert decoder.feed(b"\n0\r\nx: y\r\n\r\nGET /") == b""
    assert decoder.done
    assert decoder.leftover == b"GET /"


@pytest.mark.parametrize("size", [b"4 ", b"4\t ", b"4 ;a=b"])
def test_blanks_behind_a_size_are_a_providers_way_and_a_clients_trick(size: bytes) -> None:
    data = size + b"\r\nabcd\r\n0 \r\n\r\n"
    decoder = ChunkedDecoder(ChunkLimits(), padded=True)
    assert (decoder.feed(data), decoder.done) == (b"abcd", True)
    with pytest.raises(ProtocolError):
        ChunkedDecoder(ChunkLimits()).feed(data)
    for wrong in (b" 4", b"4 4", b"4 x"):
        with pytest.raises(ProtocolError):
            ChunkedDecoder(ChunkLimits(), padded=True).feed(wrong + b"\r\nabcd\r\n")


@pytest.mark.parametrize("extension", [b";x", b";chunk-signature=" + b"0f" * 32, b";a=" + b"b" * 4_000])
def test_of_a_providers_extensions_each_is_limited_and_not_their_sum(extension: bytes) -> None:
    chunk = b"14%b\r\n%b\r\n" % (extension, b"a" * 20)
    decoder = ChunkedDecoder(ChunkLimits(), padded=True)
    assert sum(len(decoder.feed(chunk)) for _ in range(5_000)) == 100_000
    decoder.feed(b"0%b\r\n\r\n" % extension)
    assert decoder.done
    with pytest.raises(ProtocolError):
        ChunkedDecoder(ChunkLimits(), padded=True).feed(b"14;" + b"a" * 5_000 + b"\r\n")
    with pytest.raises(ProtocolError):
        ChunkedDecoder(ChunkLimits()).feed(chunk * 5_000)


def test_a_provider_whose_chunks_are_a_byte_each_is_given_up_all_the_same() -> None:
    decoder = ChunkedDecoder(ChunkLimits(), padded=True)
    with pytest.raises(ProtocolError, match="mostly of framing"):
        decoder.feed(b"1;x\r\na\r\n" * 50_000)


@pytest.mark.parametrize(
    ("coding", "chunked"),
    [(b"chunked,", True), (b", chunked", True), (b"chunked\r\nTransfer-Encoding: ,", True), (b"chunked, chunked", False),
     (b"gzip, chunked", False), (b",", False)],
)  # fmt: skip
def test_an_empty_element_of_a_providers_list_counts_for_nothing(coding: bytes, chunked: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b\r\n\r\n" % coding
    if chunked:
        assert parse_response_head(head, "GET").chunked
        return
    with pytest.raises(ProtocolError):
        parse_response_head(head, "GET")


@pytest.mark.parametrize("value", [b"chunked\t", b" chunked ", b"Chunked"])
def test_blanks_around_a_providers_coding_are_none_of_it(value: bytes) -> None:
    head = parse_response_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding:" + value + b"\r\n\r\n", "GET")
    assert head.chunked


def test_one_byte_chunks_are_not_endless() -> None:
    decoder = ChunkedDecoder(ChunkLimits())
    with pytest.raises(ProtocolError):
        decoder.feed(b"1\r\nx\r\n" * 100_000)


def test_one_byte_chunks_are_not_endless_when_each_comes_alone() -> None:
    decoder = ChunkedDecoder(ChunkLimits())
    with pytest.raises(ProtocolError):
        list(map(decoder.feed, [b"1\r\nx\r\n"] * 100_000))


ARRIVING = (
    b"5\r\n0\r\n\r\n\r\n", b"2\r\n\r\n\r\n", b"5;a=b\r\nabcde\r\n", b"0a\r\n0123456789\r\n", b"5\r\nabcde\r\n",
    b"3\r\nabc\r\n2\r\nde\r\n", b"0\r\n\r\n",
)  # fmt: skip


@pytest.mark.parametrize("first", ARRIVING)
@pytest.mark.parametrize("second", ARRIVING)
def test_however_chunks_arrive_they_are_the_same(first: bytes, second: bytes) -> None:
    def told(*pieces: bytes) -> tuple[bytes, bool, bytes]:
        decoder = ChunkedDecoder(ChunkLimits())
        payload = b"".join([decoder.feed(piece) for piece in pieces if not decoder.done])
        return payload, decoder.done, decoder.leftover

    both = first + second
    byte_by_byte = told(*[both[at : at + 1] for at in range(len(both))])
    assert told(first, second)[:2] == told(both)[:2] == byte_by_byte[:2]
    assert told(first[:-1], first[-1:] + second)[:2] == byte_by_byte[:2]
    assert told(first, second[:1], second[1:])[:2] == byte_by_byte[:2]


@pytest.mark.parametrize("size", [b"0x5", b"+5", b"5 ", b" 5", b"5_0", b"-5", b"", b"5\t"])
def test_a_chunk_of_odd_size_is_refused(size: bytes) -> None:
    with pytest.raises(ProtocolError):
        ChunkedDecoder(ChunkLimits()).feed(size + b"\r\n" + b"x" * (80 if b"_" in size else 5) + b"\r\n")


def test_small_chunks_of_a_stream_are_welcome() -> None:
    decoder = ChunkedDecoder(ChunkLimits())
    assert sum(len(decoder.feed(b"10\r\n0123456789abcdef\r\n" * 100)) for _ in range(1000)) == 1_600_000


@pytest.mark.parametrize("decoder", [LengthDecoder(5, done=False), ChunkedDecoder(ChunkLimits())])
def test_an_early_end_is_an_error(decoder: LengthDecoder | ChunkedDecoder) -> None:
    decoder.feed(b"4")
    with pytest.raises(ProtocolError):
        decoder.end()


def test_length_and_close_decoders() -> None:
    decoder = LengthDecoder(5, done=False)
    assert (decoder.feed(b"abc"), decoder.done) == (b"abc", False)
    assert (decoder.feed(b"defg"), decoder.done, decoder.leftover) == (b"de", True, b"fg")
    close = CloseDecoder()
    assert close.feed(b"abc") == b"abc"
    close.end()
    assert close.done


RESPONSES = {
    "cl-te": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two-cl": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "99": b"HTTP/1.1 99 OK\r\n\r\n",
    "600": b"HTTP/1.1 600 OK\r\n\r\n",
    "2000": b"HTTP/1.1 2000 OK\r\n\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "1.0-chunked": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "2.0": b"HTTP/2.0 200 OK\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
    "many": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
}


@pytest.mark.parametrize("raw", RESPONSES.values(), ids=RESPONSES.keys())
def test_h30_responses_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_response_head(raw, "GET")


def test_response_framing() -> None:
    head = parse_response_head(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", "HEAD")
    assert (head.length, head.bodiless, head.keep_alive) == (10, True, True)
    assert head.decoder(ChunkLimits()).done
    assert not parse_response_head(b"HTTP/1.1 200 OK\r\n\r\n", "GET").keep_alive
    assert not parse_response_head(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", "GET").keep_alive
    assert parse_response_head(
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", "GET"
    ).keep_alive


def test_h30_no_field_can_end_its_line() -> None:
    bad = [(b"a", b"b\r\nset-cookie: x"), (b"c", b"d\ne"), (b"f", b"g\0"), (b"ok", b"fine"), (b"content-length", b"9")]
    assert response_head(200, bad, b"") == b"HTTP/1.1 200 OK\r\nok: fine\r\n\r\n"
    assert request_head("GET", "/", bad, b"") == b"GET / HTTP/1.1\r\nok: fine\r\n\r\n"


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/ä", "/?k=v w"])
def test_a_target_must_be_encoded(target: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded"):
        request_head("GET", target, [], b"")


def test_a_line_that_may_hold_a_key_is_not_remembered() -> None:
    before = request._remembered_line.cache_info().currsize
    for path in (b"/v1/sk-proxy-" + b"a" * 64, b"/v1/models?key=sk-proxy-" + b"a" * 64):
        parse_request_head(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n", HeadLimits())
    assert request._remembered_line.cache_info().currsize == before

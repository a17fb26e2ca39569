"""A head that is recognised says what parsing it again would say, and a request of one key is never taken for another's."""

import re
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from socket_kit import Seen, connect, read_until, running, toy, write

from proxyd.messages import BadRequest, HeadCache, Request, RequestTooLarge, Response
from proxyd.wire.http1 import HeadLimits, RepeatedHead, RequestHead, parse_request_head

LINE = b"POST /v1/chat/completions HTTP/1.1"
LIMITS = HeadLimits()
LETTERS = string.ascii_letters + string.digits + "-_"
TOKEN = b"sk-proxy-" + b"k" * 40
USUAL = (
    b"Host: a", b"Authorization: Bearer " + TOKEN, b"Content-Length: 12", b"Connection: keep-alive", b"X-Trace: 7",
)  # fmt: skip
BEHIND = (b"Host: a", b"Content-Length: 12", b"X-Api-Key: " + TOKEN, b"X-Trace: 7")


def raw(*lines: bytes, line: bytes = LINE) -> bytes:
    return b"\r\n".join((line, *lines)) + b"\r\n\r\n"


def judged(head: bytes, limits: HeadLimits = LIMITS) -> RequestHead | tuple[type[Exception], str, int]:
    try:
        return parse_request_head(head, limits)
    except (BadRequest, RequestTooLarge) as error:
        return type(error), str(error), error.status


def remembered(head: bytes, limits: HeadLimits = LIMITS) -> RepeatedHead:
    found = RepeatedHead.of(head, parse_request_head(head, limits), limits)
    assert found is not None
    return found


def with_length(digits: bytes) -> bytes:
    return raw(*(b"Content-Length: " + digits if line.startswith(b"Content-Length") else line for line in USUAL))


def test_it_works() -> None:
    found = remembered(raw(*USUAL))
    for digits in (b"12", b"0", b"007", b"123456", b"12"):
        assert found.recognises(with_length(digits))
        assert found.head == parse_request_head(with_length(digits), LIMITS)


class Known:
    """What somebody has learned from a head."""

    forgotten = 0  # how often

    def forget_key(self) -> None:
        self.forgotten += 1


@pytest.mark.parametrize("lines", [USUAL, BEHIND])
def test_another_token_of_the_same_length_is_read(lines: tuple[bytes, ...]) -> None:
    found = remembered(raw(*lines))
    known = found.head_cache.info = Known()
    latest = TOKEN
    for token in (TOKEN[:-1] + b"l", TOKEN[:-1] + b"_", TOKEN, b"x" * len(TOKEN), TOKEN):
        for digits in (b"12", b"7", b"12345"):
            head = raw(*lines).replace(TOKEN, token).replace(b": 12", b": " + digits)
            before = known.forgotten
            assert found.recognises(head)
            assert found.head == parse_request_head(head, LIMITS)
            assert known.forgotten - before == (token != latest)
            latest = token
    assert known.forgotten == 5
    found.head_cache.info = None
    assert found.recognises(raw(*lines).replace(TOKEN, b"y" * len(TOKEN)))
    assert found.head_cache.info is None


@pytest.mark.parametrize(
    "lines",
    [
        (*USUAL, b"X-Api-Key: " + TOKEN),
        (*USUAL, b"X-Again: " + TOKEN),
        (*USUAL[:1], b"Authorization: Basic " + TOKEN, *USUAL[2:]),
        (*USUAL[:1], b"Authorization: Bearer " + TOKEN + b" x", *USUAL[2:]),
        (*USUAL[:1], b"X-Other: " + TOKEN, *USUAL[2:]),
        (*USUAL[:1], b"X-Api-Key: bearer", *USUAL[2:]),
    ],
)
def test_no_other_value_is_a_token(lines: tuple[bytes, ...]) -> None:
    found = remembered(raw(*lines))
    assert found.recognises(raw(*lines))
    assert not found.recognises(raw(*lines).replace(TOKEN, b"x" * len(TOKEN)).replace(b"bearer", b"reared"))
    assert not found.recognises(raw(*lines).replace(TOKEN, b"x" * len(TOKEN), 1).replace(b"bearer", b"reared"))


# What a client may change between two requests, and what an attacker would.
LINES = st.sampled_from(
    [*USUAL, b"content-length:12\t", b"Content-Length: 13", b"Content-Length: 0", b"Content-Length: ", b"Content-Length:",
     b"Content-Length: 12, 12", b"Content-Length: +1", b"Content-Length: 1_0", b"Content-Length: " + b"9" * 18,
     b"Content-Length: " + b"9" * 19, b"Content-Length: 1" + b"0" * 18, b"Content-Length: 12 \t", b"Content-Length : 12",
     b"Content-Length: \xb2", b"Content_Length: 4", b"X-Content-Length: 5", b"Transfer-Encoding: chunked",
     b"Expect: 100-continue", b"Connection: close", b"Host: b", b"Authorization: Bearer l", b"Authorization: Bearer " + TOKEN[::-1], b"X-Api-Key: " + TOKEN, b" folded", b"X: a\nb"]
)  # fmt: skip
HEADS = st.builds(
    lambda lines, line: raw(*lines, line=line),
    st.lists(LINES, max_size=6),
    st.sampled_from([LINE, LINE + b" ", b"GET /v1/models HTTP/1.1", b"POST /v1/x?key=1 HTTP/1.1", LINE[:-1] + b"0"]),
)


@given(heads=st.lists(st.one_of(HEADS, st.integers(0, 10**20).map(lambda n: with_length(b"%d" % n))), max_size=8))
@example(heads=[raw(*USUAL), raw(*USUAL), with_length(b"9" * 19)])
@example(heads=[raw(*USUAL), raw(*USUAL, b"Content-Length: 13"), raw(*USUAL[:2], *USUAL[3:])])
def test_with_a_memory_or_without_it_is_the_same(heads: list[bytes]) -> None:
    repeated: RepeatedHead | None = None
    for head in heads:
        fresh = judged(head)
        if repeated is not None and repeated.recognises(head):
            assert repeated.head == fresh
        elif isinstance(fresh, RequestHead):
            repeated = RepeatedHead.of(head, parse_request_head(head, LIMITS), LIMITS)


@pytest.mark.parametrize("lines", [USUAL, BEHIND])
@given(position=st.integers(0), byte=st.integers(0, 255), cut=st.booleans())
def test_no_other_byte_may_differ(lines: tuple[bytes, ...], position: int, byte: int, *, cut: bool) -> None:
    usual = raw(*lines)
    position %= len(usual)
    other = usual[:position] + (b"" if cut else bytes([byte])) + usual[position + 1 :]
    found = remembered(usual)
    digits = re.compile(re.escape(usual).replace(b"12", b"[0-9]+", 1).replace(re.escape(TOKEN), b"[A-Za-z0-9_-]{49}"))
    assert found.recognises(other) == (digits.fullmatch(other) is not None)
    if found.recognises(other):
        assert found.head == judged(other)


@pytest.mark.parametrize("lines", [USUAL, BEHIND])
@pytest.mark.parametrize("place", [0, 20, len(TOKEN) - 1])
def test_a_token_is_of_letters_digits_and_dashes(lines: tuple[bytes, ...], place: int) -> None:
    for byte in range(256):
        found = remembered(raw(*lines))
        other = TOKEN[:place] + bytes([byte]) + TOKEN[place + 1 :]
        assert found.recognises(raw(*lines).replace(TOKEN, other)) == (chr(byte) in LETTERS), bytes([byte])


@pytest.mark.parametrize("lines", [USUAL, BEHIND])
def test_with_another_token_nothing_else_may_differ(lines: tuple[bytes, ...]) -> None:
    usual = raw(*lines)
    another = usual.replace(TOKEN, TOKEN[:-1] + b"l")
    digits = usual.index(b": 12") + 2
    around = [*range(usual.index(TOKEN)), *range(usual.index(TOKEN) + len(TOKEN), len(usual))]
    for position in around:
        if position not in (digits, digits + 1):
            odd = b"y" if usual[position] != ord("y") else b"z"
            assert not remembered(usual).recognises(another[:position] + odd + another[position + 1 :]), position
    assert remembered(usual).recognises(another)


def test_what_other_digits_could_make_too_large_is_not_remembered() -> None:
    large = raw(*USUAL, b"X-Large: " + b"x" * 2048)
    assert RepeatedHead.of(large, parse_request_head(large, LIMITS), LIMITS) is None
    head = raw(*USUAL)
    for size, kept in ((len(head) + 18, True), (len(head) + 17, False)):
        limits = HeadLimits(field_bytes=size)
        assert (RepeatedHead.of(head, parse_request_head(head, limits), limits) is not None) == kept


def test_what_may_be_a_secret_or_ends_the_connection_is_not_remembered() -> None:
    for odd in (
        raw(*USUAL, line=b"POST /v1/x?key=1 HTTP/1.1"),
        raw(*USUAL, b"Expect: 100-continue"),
        raw(*USUAL[:3], b"Connection: close"),
        raw(*USUAL[:2]),
        raw(*USUAL[:2], b"Transfer-Encoding: chunked"),
    ):
        assert RepeatedHead.of(odd, parse_request_head(odd, LIMITS), LIMITS) is None


def test_a_connection_hands_its_cache_on_and_drops_it_with_another_head() -> None:
    caches: list[HeadCache | None] = []
    seen = Seen()
    answer = toy(seen)

    def handler(request: Request) -> Response:
        caches.append(request.head_cache)
        return answer(request)

    one = b"POST /1 HTTP/1.1\r\nHost: a\r\nX-Api-Key: %b\r\nContent-Length: %d\r\n\r\n"
    with running(handler) as server, connect(server) as sock:
        for key, body in ((b"k", b"ab"), (b"k", b"cde"), (b"l", b"fg"), (b"k", b"hi")):
            write(sock, one % (key, len(body)) + body)
            read_until(sock, body)
            assert seen.headers[1:] == ((b"x-api-key", key), (b"content-length", b"%d" % len(body)))
    assert seen.bodies == [b"ab", b"cde", b"fg", b"hi"]
    first, second, third, fourth = caches
    assert first is second is not None
    assert len({id(cache) for cache in (first, third, fourth)}) == 3

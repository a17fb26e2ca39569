"""Cases H of the catalogue against the real proxy: each message whole and one byte a write, with a valid key.

What is refused is answered once, the connection closes, and neither it nor the request behind it reaches the provider.
"""

import pytest
from calls import marker, own_spend, seen
from harness import Router
from raw_http import Ended, bearer, chat_body, chat_request, dial, request, statuses

POST = b"POST /v1/chat/completions"
CL, TE = b"Content-Length: ", b"Transfer-Encoding: "
BOTH_WAYS = pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytewise"])
BODY, BYTES, CHUNKS = b"<body>", b"<bytes>", b"<chunks>"  # stand for the body, its length, the body as chunks

H01 = {
    "cl-te": (CL + BYTES, TE + b"chunked", CHUNKS),
    "te-cl": (TE + b"chunked", CL + BYTES, CHUNKS),
    "cl-te-plain-body": (CL + BYTES, TE + b"chunked", BODY),
    "cl-0-te": (CL + b"0", TE + b"chunked", CHUNKS),
}
H02 = {
    "twice-equal": (CL + BYTES, CL + BYTES, BODY),
    "twice-different": (CL + BYTES, CL + b"4", BODY),
    **{
        name: (CL + value, BODY)
        for name, value in {
            "list": b"5, 5",
            "two-numbers": b"1 1",
            "plus": b"+1",
            "minus-zero": b"-0",
            "hex": b"0x1",
            "underscore": b"1_0",
            "letter": b"1Z",
            "empty": b"",
            "2^64": b"18446744073709551616",
            "21-digits": b"9" * 21,
        }.items()
    },
}
TOO_LARGE = {"2^63": b"9223372036854775808", "2^64-1": b"18446744073709551615"}
H05 = {
    "comma-before": b",chunked",
    "comma-after": b"chunked,",
    "chunked-chunked": b"chunked, chunked",
    "identity": b"identity",
    "xchunked": b"xchunked",
    "quoted": b'"chunked"',
    "vt": b"\x0bchunked",
    "nbsp": b"\xa0chunked",
    "parameter": b"chunked;a=b",
    "empty": b"",
    "two-lines": b"chunked\r\n" + TE + b"chunked",
    "h06-gzip": b"gzip, chunked",
}
REFUSED = {
    **{f"h01-{name}": parts for name, parts in H01.items()},
    **{f"h02-{name}": parts for name, parts in H02.items()},
    **{f"h05-{name}": (TE + value, CHUNKS) for name, value in H05.items()},
}


def chunked(body: bytes) -> bytes:
    half = len(body) // 2
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:half], body[half:])) + b"0\r\n\r\n"


def build(key: str, text: str, *parts: bytes, body: bytes | None = None) -> bytes:
    """A chat completion of header fields and, last, the kind of its body."""
    body = chat_body(text) if body is None else body
    *fields, last = parts
    fields = [one.replace(BYTES, b"%d" % len(body)) for one in fields]
    return request(POST, bearer(key), *fields, body=chunked(body) if last == CHUNKS else body)


@pytest.fixture(scope="module")
def key(router: Router) -> str:
    return router.create_key(name="raw")[1]


def check_refused(router: Router, key: str, raw: bytes, text: str, status: int, *, bytewise: bool) -> None:
    behind = marker()
    with dial(router) as line:
        line.send(raw + chat_request(key, behind), bytewise=bytewise)
        answer = line.answer()
        assert answer.status == status, answer
        assert answer.headers["connection"] == "close"
        assert answer.headers["content-type"].startswith("application/json")
        assert line.closed()
    assert seen(router, text) == 0
    assert seen(router, behind) == 0


@BOTH_WAYS
@pytest.mark.parametrize("parts", REFUSED.values(), ids=REFUSED.keys())
def test_h01_h02_h05_two_ways_to_read_a_length(
    router: Router, key: str, parts: tuple[bytes, ...], bytewise: bool
) -> None:
    text = marker()
    check_refused(router, key, build(key, text, *parts), text, 400, bytewise=bytewise)


@BOTH_WAYS
@pytest.mark.parametrize("value", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_h02_h04_a_length_beyond_all_bodies(router: Router, key: str, value: bytes, bytewise: bool) -> None:
    text = marker()
    check_refused(router, key, build(key, text, CL + value, BODY), text, 413, bytewise=bytewise)


@BOTH_WAYS
@pytest.mark.parametrize("kind", [BODY, CHUNKS], ids=["length", "chunks"])
def test_what_is_right_is_served(router: Router, key: str, kind: bytes, bytewise: bool) -> None:
    """The measure for all refusals here: the same message in order is answered, and the one behind it as well."""
    text, behind = marker(), marker()
    field = CL + BYTES if kind == BODY else TE + b"chunked"
    with dial(router) as line:
        line.send(build(key, text, field, kind) + chat_request(key, behind), bytewise=bytewise)
        assert [line.answer().status for _ in range(2)] == [200, 200]
    assert (seen(router, text), seen(router, behind)) == (1, 1)


def with_trailers(key: str, text: str, trailers: bytes, *fields: bytes) -> bytes:
    raw = build(key, text, *fields, TE + b"chunked", CHUNKS)
    return raw.removesuffix(b"\r\n") + trailers + b"\r\n"


@BOTH_WAYS
def test_h13_trailers_reach_neither_the_key_check_nor_the_provider(router: Router, key: str, bytewise: bool) -> None:
    text, behind = marker(), marker()
    trailers = (
        b"Authorization: Bearer nobody\r\nX-Forwarded-For: 192.0.2.9\r\nContent-Length: 50\r\nHost: evil.test\r\n"
    )
    trailers += b"X-Trailing: x\r\nX-Sandbox: 500\r\n"
    with dial(router) as line:
        line.send(with_trailers(key, text, trailers) + chat_request(key, behind), bytewise=bytewise)
        assert [line.answer().status for _ in range(2)] == [200, 200]
    (attempt,) = router.attempts(text)
    assert not {"x-trailing", "x-forwarded-for", "x-sandbox", "trailer"} & set(attempt["header_names"])
    assert attempt["header_names"].count("host") == 1
    assert seen(router, behind) == 1


@BOTH_WAYS
def test_h13_a_key_in_the_trailers_opens_nothing(router: Router, key: str, bytewise: bool) -> None:
    text = marker()
    raw = with_trailers(key, text, b"Authorization: Bearer " + key.encode() + b"\r\n")
    with dial(router) as line:
        line.send(raw.replace(bearer(key) + b"\r\n", b"", 1), bytewise=bytewise)
        assert line.answer().code == "invalid_proxy_key"
    assert seen(router, text) == 0


@pytest.mark.parametrize(
    "trailers", [b"A: b\r\n" * 101, (b"A: " + b"b" * 2_000 + b"\r\n") * 5], ids=["101", "more-than-8-KB"]
)
def test_h13_too_many_trailers(router: Router, key: str, trailers: bytes) -> None:
    text = marker()
    check_refused(router, key, with_trailers(key, text, trailers), text, 400, bytewise=False)


@BOTH_WAYS
@pytest.mark.parametrize("path", [b"/v1/models", b"/healthz", b"/openai/v1/models"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_h20_a_body_where_none_is_expected_is_not_the_next_request(
    router: Router, key: str, method: bytes, path: bytes, framing: str, bytewise: bool
) -> None:
    hidden, behind = marker(), marker()
    smuggled = chat_request(key, hidden)
    field = CL + b"%d" % len(smuggled) if framing == "length" else TE + b"chunked"
    raw = request(method + b" " + path, bearer(key), field)
    raw += smuggled if framing == "length" else chunked(smuggled)
    with dial(router) as line:
        line.send(raw + chat_request(key, behind), bytewise=bytewise)
        first = line.answer(to_head=method == b"HEAD")
        assert first.status in (200, 400, 404, 405)  # 400: the provider has read the body, and it is no JSON
        assert first.status != 400 or path.startswith(b"/openai/")
        answered = True
        try:
            second = line.answer()
        except Ended:
            answered = False  # closed instead of read: as good
        else:
            assert (second.status, second.headers["content-type"]) == (200, "application/json")
            line.sock.shutdown(1)
            assert line.closed()
    assert seen(router, hidden) == 0
    assert seen(router, behind) == answered


@BOTH_WAYS
def test_h21_three_in_one_segment_are_answered_in_order_each_by_its_own_key(router: Router, bytewise: bool) -> None:
    mine = [router.create_key(name=f"pipelined {number}", spend_limit_usd="1") for number in range(2)]
    texts = [marker() for _ in range(3)]
    owners = [mine[0], mine[0], mine[1]]
    raw = b"".join(chat_request(key, text) for (_, key), text in zip(owners, texts, strict=True))
    with dial(router) as line:
        line.send(raw, bytewise=bytewise)
        answers = [line.answer() for _ in texts]
    for answer, text in zip(answers, texts, strict=True):
        assert answer.status == 200
        assert text.encode() in answer.body
    costs = [sum(attempt["cost_nanos"] for attempt in router.attempts(text)) for text in texts]
    spent = [float(own_spend(router, key)["spent_usd"]) for _, key in mine]
    assert spent == pytest.approx([(costs[0] + costs[1]) / 1e9, costs[2] / 1e9], rel=1e-9)


@BOTH_WAYS
def test_h21_a_stranger_in_the_middle_is_refused_alone(router: Router, key: str, bytewise: bool) -> None:
    texts = [marker() for _ in range(3)]
    keys = [key, "sk-proxy-" + "0" * 64, key]
    with dial(router) as line:
        line.send(b"".join(map(chat_request, keys, texts)), bytewise=bytewise)
        assert [line.answer().status for _ in texts] == [200, 401, 200]
    assert [seen(router, text) for text in texts] == [1, 0, 1]


@pytest.mark.parametrize("later", [False, True], ids=["at-once", "body-later"])
@BOTH_WAYS
@pytest.mark.parametrize("kind", [BODY, CHUNKS], ids=["length", "chunks"])
def test_h23_an_upgrade_to_h2c_is_plain_http(
    router: Router, key: str, kind: bytes, bytewise: bool, later: bool
) -> None:
    text = marker()
    field = CL + BYTES if kind == BODY else TE + b"chunked"
    upgrade = (b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: AAMAAABkAAQAAP__")
    raw = build(key, text, *upgrade, field, kind)
    head, end, body = raw.partition(b"\r\n\r\n")
    with dial(router) as line:
        if later:
            line.send(head + end, bytewise=bytewise)
            line.send(body, bytewise=True)
        else:
            line.send(raw, bytewise=bytewise)
        answer = line.answer()
        assert answer.status == 200, answer
        assert text.encode() in answer.body
        line.send(request(b"GET /v1/key", bearer(key)), bytewise=bytewise)
        assert line.answer().status == 200
    (attempt,) = router.attempts(text)
    assert attempt["body_bytes"] == len(chat_body(text))
    assert not {"upgrade", "http2-settings", "connection"} & set(attempt["header_names"])


def test_h22_nothing_is_served_behind_an_error(router: Router, key: str) -> None:
    texts = [marker(), marker()]
    with dial(router) as line:
        line.send(build(key, texts[0], CL + b"x", BODY) + chat_request(key, texts[1]) * 3)
        assert statuses(line.rest()) == [400]
    assert [seen(router, text) for text in texts] == [0, 0]

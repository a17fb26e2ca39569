"""Large bodies, also hostile ones: judged before they are read, in bounded memory, and nobody else waits for them."""

import contextlib
import gzip
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from harness import Router, children_of
from process_kit import peak_mb
from raw_http import ScriptedProvider, bearer, chat_body, chat_request, dial, reply, request
from watch_kit import Watch

ENOUGH = 150  # small requests, to tell the slowest hundredth of them
# Half a million small arrays in 25 MB: what once took 1.6 s of a worker that did nothing else meanwhile.
ARRAYS = b'{"model":"gpt-4o-mini","max_tokens":16,"messages":[{"role":"user","content":"big"}],"x":[' + b",".join(
    [b'["' + b"x" * 43 + b'"]'] * 520_000
)  # fmt: skip
ARRAYS += b"]}"
DENSE = ARRAYS[: ARRAYS.index(b'"x":[') + 5] + b",".join([b"[1,2,3,4,5,6,7,8]"] * 1_380_000) + b"]}"


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[Router]:
    """A router of one worker. Small requests have a provider of their own: the sandbox reads large bodies at length."""
    router = Router(tmp_path_factory.mktemp("large") / "data", workers=1, ROUTER_ANTHROPIC_URL=provider.url)
    provider.play(lambda line, _: line.send(reply()))
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()


def send_large(router: Router, key: str, body: bytes, found: list[tuple[int, str | None]]) -> None:
    """Send a large body and note what it is answered, which may come before it was read."""
    with dial(router) as line:
        line.sock.settimeout(60)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sock.sendall(request(b"POST /v1/chat/completions", bearer(key), b"Content-Length: %d" % len(body)))
            line.sock.sendall(body)
        answer = line.answer()
        found.append((answer.status, answer.code))


def in_parallel(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("rate", ARRAYS, (429, "rate_limited")),
        ("spend", ARRAYS, (403, "spend_exceeded")),
        ("free", ARRAYS, (200, None)),
        ("free", DENSE, (400, "invalid_request")),
    ],
    ids=["used-up rate", "used-up money", "may send", "may send, denser"],
)
def test_w1_eight_bodies_of_small_arrays_at_once_harm_nobody(
    router: Router, kind: str, body: bytes, expected: tuple[int, str | None]
) -> None:
    _, small = router.create_key(name="small")
    every: dict[str, dict[str, object]] = {"rate": {"rate_limit_rpm": 1}, "spend": {"spend_limit_usd": "0"}, "free": {}}
    limits = every[kind]
    _, key = router.create_key(name="large", **limits)
    with dial(router) as line:
        line.send(chat_request(key, "first"))
        assert line.answer().status == {"rate": 200, "spend": 403, "free": 200}[kind]
    workers = router.worker_pids()
    with Watch(router, small) as quiet:
        time.sleep(1.0)  # what this machine makes a request wait for without us
    found: list[tuple[int, str | None]] = []
    with Watch(router, small) as watch:
        while len(watch.seconds) < ENOUGH and len(found) < 80:
            in_parallel(8, lambda: send_large(router, key, body, found))
    assert set(found) == {expected}
    assert watch.failed == []
    assert router.worker_pids() == workers
    parsers = children_of(workers[0])
    assert (parsers != []) == (kind == "free")
    print(f"{kind}: {len(watch.seconds)} small requests, p99 {watch.p99() * 1000:.1f} ms ({quiet.p99() * 1000:.1f} before), "
          f"longest {max(watch.seconds) * 1000:.1f} ms, memory {[peak_mb(pid) for pid in (*workers, *parsers)]} MB")  # fmt: skip
    assert watch.p99() < 0.1 + quiet.p99()
    assert sum(peak_mb(pid) for pid in (*workers, *parsers)) < 400


def test_w1_a_used_up_key_is_refused_before_its_large_body_is_asked_for(router: Router) -> None:
    _, key = router.create_key(name="expects", spend_limit_usd="0")
    with dial(router) as line:
        fields = (bearer(key), b"Content-Length: %d" % len(ARRAYS), b"Expect: 100-continue")
        line.send(request(b"POST /v1/chat/completions", *fields))
        answer = line.answer()
    assert (answer.status, answer.code) == (403, "spend_exceeded")
    assert answer.headers["x-spend-limit"] == "0.00"


@pytest.mark.parametrize("size", [200_000, 400_000, 5_000_000])
def test_w1_a_body_in_chunks_is_judged_once_it_has_become_large(router: Router, size: int) -> None:
    _, used_up = router.create_key(name="used up", spend_limit_usd="0")
    _, may = router.create_key(name="may")
    text = chat_body("x" * size)
    pieces = b"".join(
        b"%x\r\n%b\r\n" % (len(text[at : at + 50_000]), text[at : at + 50_000]) for at in range(0, len(text), 50_000)
    )
    for key, ended, status in ((used_up, size < 256 * 1024, 403), (may, True, 200)):
        with dial(router) as line:
            line.send(request(b"POST /v1/chat/completions", bearer(key), b"Transfer-Encoding: chunked") + pieces)
            if ended:  # else the answer comes although the body has no end yet
                line.send(b"0\r\n\r\n")
            assert line.answer().status == status


@pytest.mark.parametrize("path", [b"/v1/messages", b"/v1/messages/count_tokens"], ids=["metered", "free"])
def test_w1_a_compressed_body_is_large_by_what_comes_out_of_it(router: Router, path: bytes) -> None:
    _, key = router.create_key(name="packed", rate_limit_rpm=1)
    packed = gzip.compress(
        b'{"model":"claude-opus-5","max_tokens":9,"messages":[{"role":"user","content":"%b"}]}' % (b"x" * 5_000_000)
    )
    assert len(packed) < 256 * 1024
    fields = (bearer(key), b"Content-Encoding: gzip", b"Content-Type: application/json")
    with dial(router) as line:
        line.send(request(b"POST " + path, *fields, b"Content-Length: %d" % len(packed)) + packed)
        assert line.answer().status == 200
    with dial(router) as line:  # the rest of the body is not needed to know that the minute is used up
        line.send(request(b"POST " + path, *fields, b"Content-Length: %d" % (len(packed) + 9)) + packed)
        answer = line.answer()
    assert (answer.status, answer.code) == (429, "rate_limited")

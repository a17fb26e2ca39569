"""Many connections, slow ones, and clients that leave: the router goes on serving, and nothing stays behind."""

import asyncio
import random
import resource
import time
from collections.abc import Iterator

import pytest
from calls import marker, spend_of
from harness import Router, eventually
from hurt_kit import settled
from process_kit import descriptors
from raw_http import ScriptedProvider, bearer, chat_body, dial, ledger_rows, reply, request
from watch_kit import Watch, small_request


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[Router]:
    """A router of one worker that was started with the usual soft limit of 1,024 descriptors."""
    router = Router(tmp_path_factory.mktemp("tight") / "data", workers=1, ROUTER_ANTHROPIC_URL=provider.url)
    yield from started_with(router, (1_024, None))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory, provider: ScriptedProvider) -> Iterator[Router]:
    """The same where the limit is a hard one, so that there are fewer descriptors than connections."""
    router = Router(tmp_path_factory.mktemp("short") / "data", workers=1, ROUTER_ANTHROPIC_URL=provider.url)
    yield from started_with(router, (1_024, 1_024))


def started_with(router: Router, limit: tuple[int, int | None]) -> Iterator[Router]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[0], hard))
    try:
        router.start_all()
        if limit[1] is not None:
            for pid in router.worker_pids():
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit[0], limit[1]))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        yield router
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        router.stop_all()


def address(router: Router) -> tuple[str, int]:
    host, _, port = router.proxy_url.removeprefix("http://").rpartition(":")
    return host, int(port)


async def open_all(router: Router, count: int, first: bytes) -> list[asyncio.StreamWriter]:
    """Connections that send `first` and then nothing more."""
    writers = []
    for _ in range(count):
        _, writer = await asyncio.open_connection(*address(router))
        writer.write(first)
        writers.append(writer)
    return writers


def crowded(router: Router, count: int, first: bytes, key: str, seconds: float) -> Watch:
    """What small requests see while so many connections are open."""

    async def run() -> Watch:
        writers = await open_all(router, count, first)
        try:
            with Watch(router, key) as watch:
                await asyncio.sleep(seconds)
            return watch
        finally:
            for writer in writers:
                writer.transport.abort()

    return asyncio.run(run())


SLOW_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Slow: "


@pytest.mark.slow
@pytest.mark.parametrize("which", ["tight", "short"])
@pytest.mark.parametrize("first", [b"", SLOW_HEAD], ids=["silent", "half a head"])
def test_w3_connections_without_a_request_do_not_shut_the_router(
    which: str, first: bytes, provider: ScriptedProvider, tight: Router, short: Router
) -> None:
    """Where there are more of them than descriptors, those that wait longest make room."""
    router = {"tight": tight, "short": short}[which]
    provider.play(lambda line, _: line.send(reply()))
    _, key = router.create_key(name="others")
    (worker,) = router.worker_pids()
    with Watch(router, key) as quiet:
        time.sleep(2.0)
    watch = crowded(router, 2_300, first, key, 4.0)
    assert watch.failed == []
    assert watch.p99() < 2 * quiet.p99() + 0.02  # this machine's other work
    assert router.worker_pids() == [worker]
    assert "Traceback" not in router.log_of("proxy")
    with dial(router) as line:
        line.send(small_request(key))
        assert line.answer().status == 200


@pytest.mark.slow
def test_a_thousand_streams_of_which_a_third_leaves(tight: Router) -> None:
    """Every attempt is billed as the provider bills it, or as what was delivered; after five seconds nothing is left."""
    key_id, key = tight.create_key(name="thousand", spend_limit_usd="1000")
    (worker,) = tight.worker_pids()
    text = marker()
    chance = random.Random(7)
    before = descriptors(worker)

    async def one(leaves_after: int | None) -> bytes:
        reader, writer = await asyncio.open_connection(*address(tight))
        body = chat_body(f"sandbox:events=20,rate=5 {text}", stream=True, max_tokens=100)
        fields = (bearer(key), b"Content-Length: %d" % len(body), b"Connection: close")
        writer.write(request(b"POST /v1/chat/completions", *fields, body=body))
        said = b""
        try:
            while piece := await reader.read(65_536):
                said += piece
                if leaves_after is not None and said.count(b"data:") >= leaves_after:
                    break
        finally:
            writer.transport.abort() if chance.random() < 0.5 else writer.close()
        return said

    async def all_of_them() -> list[bytes]:
        leavers = [chance.randrange(1, 18) if number % 10 < 3 else None for number in range(1_000)]
        return await asyncio.gather(*map(one, leavers))

    said = asyncio.run(all_of_them())
    ended = time.monotonic()
    assert sum(b"data: [DONE]" in each for each in said) == 700
    rows = settled(tight, key_id, 1_000)
    assert len(rows) == 1_000
    assert all(row["cost_nanos"] > 0 for row in rows)
    assert sorted({row["outcome"] for row in rows}) == ["client_gone", "ok"]
    attempts = tight.attempts(text, 1_000)
    exact = {attempt["cost_nanos"] for attempt in attempts if not attempt["client_aborted"]}
    assert {row["cost_nanos"] for row in rows if row["outcome"] == "ok"} <= exact
    assert spend_of(tight, key_id)["held_usd"] == "0.00"
    # What the pool keeps for the next call is no leftover: 256 connections at most.
    eventually(lambda: descriptors(worker) <= before + 256, max(0.1, 5 - (time.monotonic() - ended)), "the end of all")


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/openai/v1/files"], ids=["metered", "upload"])
@pytest.mark.parametrize(
    ("fields", "begun"),
    [
        ((b"Content-Length: 100000", b"Expect: 100-continue"), b""),
        ((b"Content-Length: 100000",), b""),
        ((b"Content-Length: 100000",), b"{"),
        ((b"Transfer-Encoding: chunked",), b"1\r\n{\r\n"),
    ],
    ids=["expects", "nothing", "a byte", "a chunk"],
)
def test_w7_a_body_that_does_not_come_holds_no_connection(
    lab: Router, provider: ScriptedProvider, path: bytes, fields: tuple[bytes, ...], begun: bytes
) -> None:
    key_id, key = lab.create_key(name="slow")
    provider.play(lambda line, _: line.send(reply()))
    with dial(lab) as slow, dial(lab) as other:
        other.send(small_request(key))
        assert other.answer().status == 200
        connections = provider.connections
        provider.heard.clear()
        slow.send(request(b"POST " + path, bearer(key), *fields) + begun)
        if b"Expect: 100-continue" in fields:
            assert slow.upto(b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        for _ in range(3):
            other.send(small_request(key))
            assert other.answer().status == 200
        assert provider.connections == connections
        assert len(provider.heard) == 3
    eventually(lambda: len(ledger_rows(lab, key_id)) == 4, what="the rows of those that were sent")


def test_w7_an_upload_goes_on_as_it_comes(lab: Router, provider: ScriptedProvider) -> None:
    """What is larger than its beginning is streamed, whole and in order; what is smaller goes with a length."""
    _, key = lab.create_key(name="upload")
    provider.play(lambda line, _: line.send(reply()))
    for size in (10, 65_536, 300_000):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        with dial(lab) as line:
            line.send(request(b"POST /openai/v1/files", bearer(key), b"Content-Length: %d" % size, body=body))
            assert line.answer().status == 200
        assert provider.heard[-1].body == body

"""Minutes of everything at once, at half of what the machine can do: afterwards nothing is left, and nothing has grown.

Ten seconds of it, and ten minutes in the long form.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Router, eventually
from hurt_kit import settled
from process_kit import cpu_seconds, descriptors, memory_mb
from raw_http import bearer, chat_body, ledger_rows, request
from sizes import LONG, chance, size

SECONDS = size(10, 600)
CLIENTS = 40
HALF = 0.5  # of a core for the worker: above it clients pause
GROWTH_MB = 12.0
POOLED = 256  # connections to the provider that may wait for the next call


@pytest.fixture
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    router = Router(tmp_path_factory.mktemp("soak") / "data", workers=1)
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()


def small(key: str, text: str, **more: Any) -> bytes:
    body = chat_body(text, max_tokens=40, **more)
    return request(b"POST /v1/chat/completions", bearer(key), b"Content-Length: %d" % len(body), body=body)


class Soak:
    """Clients of all kinds, good and bad, that come and go until the time is over."""

    def __init__(self, router: Router, key: str) -> None:
        self._host, _, self._port = router.proxy_url.removeprefix("http://").rpartition(":")
        self._key = key
        self._chance = chance("soak")
        self.pause_seconds = 0.05
        self.done: Counter[str] = Counter()
        self.odd: Counter[bytes] = Counter()

    async def run(self, seconds: float) -> None:
        """Raises what a client could not explain."""
        until = time.monotonic() + seconds
        await asyncio.gather(*[self._client(until) for _ in range(CLIENTS)])

    async def _client(self, until: float) -> None:
        kinds = (self._plain, self._stream, self._leave, self._read_slowly, self._stalled, self._half, self._large)
        while time.monotonic() < until:
            kind = self._chance.choices(kinds, weights=(40, 20, 15, 8, 5, 8, 4))[0]
            reader, writer = await asyncio.open_connection(self._host, int(self._port))
            try:
                await kind(reader, writer)
                self.done[kind.__name__] += 1
            finally:
                if self._chance.random() < 0.3:
                    writer.transport.abort()
                else:
                    writer.close()
            await asyncio.sleep(self.pause_seconds * self._chance.uniform(0.5, 1.5))

    async def _answered(self, reader: asyncio.StreamReader) -> None:
        first = await reader.readline()
        if not first.startswith(b"HTTP/1.1 200"):
            self.odd[first] += 1

    async def _plain(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(self._chance.randrange(1, 4)):
            writer.write(small(self._key, "hello"))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                self.odd[head[:40]] += 1
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(small(self._key, "sandbox:events=10,rate=40 hi", stream=True))
        await self._answered(reader)
        await reader.readuntil(b"[DONE]")

    async def _leave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(small(self._key, "sandbox:events=30,rate=30 hi", stream=True))
        await self._answered(reader)
        await asyncio.sleep(self._chance.uniform(0, 0.4))
        if self._chance.random() < 0.3:
            writer.write(b"x")  # a late byte, behind which the end would not be seen

    async def _read_slowly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(small(self._key, "sandbox:events=30,rate=200 hi", stream=True))
        await self._answered(reader)
        for _ in range(5):
            await reader.read(50)
            await asyncio.sleep(0.1)

    async def _stalled(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(small(self._key, "sandbox:stall hi", stream=True))
        await self._answered(reader)
        await asyncio.sleep(0.3)

    async def _half(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = small(self._key, "never sent")
        writer.write(whole[: self._chance.randrange(1, len(whole) - 1)])
        await asyncio.sleep(0.2)

    async def _large(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(small(self._key, "x" * self._chance.choice((300_000, 1_500_000))))
        await self._answered(reader)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_nothing_grows_and_nothing_is_left(soaked: Router) -> None:
    key_id, key = soaked.create_key(name="soak", spend_limit_usd="100000")
    (worker,) = soaked.worker_pids()
    soak = Soak(soaked, key)
    asyncio.run(soak.run(min(5.0, SECONDS / 4)))  # until what is made once has been made
    before = descriptors(worker)
    memory = memory_mb(worker)[0]

    async def half_load() -> None:
        running = asyncio.create_task(soak.run(SECONDS))
        used = cpu_seconds(worker)
        while not running.done():
            await asyncio.sleep(0.5)
            now = cpu_seconds(worker)
            soak.pause_seconds = min(1.0, max(0.01, soak.pause_seconds * (1.2 if now - used > HALF * 0.5 else 0.9)))
            used = now
        await running

    asyncio.run(half_load())
    assert soak.odd == {}
    assert len(soak.done) == 7
    eventually(lambda: descriptors(worker) <= before + POOLED, 5.0, "the end of all connections")
    rows = settled(soaked, key_id, 1)
    answered = soak.done["_plain"] + soak.done["_stream"] + soak.done["_large"]
    assert sum(row["outcome"] == "ok" for row in rows) >= answered
    assert all(row["cost_nanos"] > 0 for row in rows)
    assert len(ledger_rows(soaked, key_id)) == len(rows)
    if LONG:  # Idle connections to the provider are let go after 30 s; one that were lost would stay for ever.
        eventually(lambda: descriptors(worker) <= before, 45.0, "the end of what the pool keeps")
    assert memory_mb(worker)[0] - memory < GROWTH_MB
    assert soaked.worker_pids() == [worker]
    assert "Traceback" not in soaked.log_of("proxy")

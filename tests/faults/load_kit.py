"""Traffic that can be accounted for afterwards: each call has a name of its own, on the invoice and in the ledger.

The name is the model's: the sandbox reads `words=7.000123` as seven words, so the digits after the point are free, and
the ledger keeps the model that was asked for. So a row that was written for a process which died is found as well.
Models of an organisation's own provider have prices by their whole names; there the name is the call's label.
"""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

import http_kit
from harness import Router
from http_kit import Reply

ANTHROPIC, OPENAI = "claude-haiku-4-5", "gpt-5-nano"
MAX_TOKENS = 24
_numbers = itertools.count(random.SystemRandom().randrange(900_000))  # nobody's names of a run before


Post = Callable[[str, object, Mapping[str, str]], Awaitable[Reply]]


class Proxy(Protocol):
    """A router, or what stands before some."""

    proxy_url: str


@dataclass(frozen=True, slots=True)
class Key:
    """A proxy key as the load uses it."""

    id: str
    secret: str
    limit_usd: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secret}"}


@dataclass(slots=True)
class Call:
    """One call and what its client saw of it."""

    name: str  # the model, as it was asked for
    key: Key
    reply: Reply
    streamed: bool
    at: float  # Unix seconds, as it was sent

    @property
    def served(self) -> bool:
        """The client has the whole answer."""
        done = b"message_stop" in self.reply.body or b"[DONE]" in self.reply.body
        return self.reply.status == 200 and self.reply.complete and (done or not self.streamed)

    @property
    def refused(self) -> bool:
        """The router said no; so nothing was sent."""
        return self.reply.code is not None and self.reply.code not in ("provider_unreachable", "provider_timeout")


def make_key(router: Router, name: str, **fields: object) -> Key:
    key_id, secret = router.create_key(name=name, **fields)
    limit = fields.get("spend_limit_usd")
    return Key(key_id, secret, None if limit is None else str(limit))


def make_keys(router: Router, *, tight_usd: str = "0.03") -> list[Key]:
    """Without a limit, with one that is far, with one that is met on the way, and with rates that are none."""
    return [
        make_key(router, "free"),
        make_key(router, "far", spend_limit_usd="50", model_limits=of_models("*-sandbox-*", "anthropic/*")),
        make_key(router, "tight", spend_limit_usd=tight_usd),
        make_key(
            router,
            "rate",
            spend_limit_usd="40",
            spend_reset="daily",
            rate_limit_rpm=1_000_000,
            max_concurrent_requests=1_000,
            rate_limit_tpm=1_000_000_000,
            model_limits=of_models("gpt-*"),
        ),
    ]


def of_models(*patterns: str, usd: str = "40") -> list[dict[str, str]]:
    """Limits for models that never reset; `reckon` compares each with the ledger."""
    return [{"model": pattern, "spend_limit_usd": usd} for pattern in patterns]


@contextmanager
def limits_together(router: Router) -> Iterator[None]:
    """All keys have limits together, which are far: what they use is counted, and compared by `reckon`."""

    def limit(spend_usd: str | None, rpm: int | None) -> None:
        document = {"spend_limit_usd": spend_usd, "rate_limit_rpm": rpm}
        router.api("PATCH", "/v1/organization", json=document).raise_for_status()

    limit("9000000", 1_000_000_000)
    yield
    limit(None, None)


async def one(
    router: Proxy,
    key: Key,
    *,
    words: int = 7,
    stream: bool = False,
    slow: float = 0.0,
    post: Post = http_kit.post,
    house: str | None = None,
) -> Call:
    """One call. `slow`: seconds before the first byte, and a tenth of it between two events.

    `house` is the organisation's own provider that it goes to, translated if it is asked in Anthropic's dialect.
    """
    number = next(_numbers)
    anthropic = number % 2 == 0
    if house is None:
        name = model = f"{ANTHROPIC if anthropic else OPENAI}-sandbox-words={words}.{number % 1_000_000:06d}"
        text, headers = name, key.headers
    else:
        name, model = f"{house}.{number % 1_000_000:06d}", f"{house}/{OPENAI}"
        text, headers = f"sandbox:words={words} {name}", key.headers | {"x-router-tag": name}
    text = f"sandbox:slow={slow:.3f} {text}" if slow else text
    document = {
        "model": model,
        "stream": stream,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": text}],
    }
    path = "/v1/messages" if anthropic else "/v1/chat/completions"
    at = time.time()
    return Call(name, key, await post(router.proxy_url + path, document, headers), stream, at)


def call(router: Router, key: Key, *, words: int = 7, stream: bool = False, slow: float = 0.0) -> Call:
    """One call, for tests that make few."""
    return asyncio.run(one(router, key, words=words, stream=stream, slow=slow))


class _InThread:
    """Work in a thread of its own until the `with` ends, which raises what the thread has failed with."""

    def __init__(self, name: str) -> None:
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as failure:  # noqa: BLE001 - raised where the `with` ends
            self._failure = failure

    def _work(self) -> None:
        raise NotImplementedError


class Load(_InThread):
    """`clients` at a time, without a pause unless `rate` (calls a second, all together) says so.

    Keys take turns by chance; so do plain, slow and streamed calls. `keep`: each client keeps its connection. With a
    `house` every third call or so goes there.
    """

    def __init__(
        self,
        router: Proxy,
        keys: Sequence[Key],
        *,
        keep: bool = False,
        clients: int = 8,
        rate: float | None = None,
        seed: int = 0,
        slow: float = 0.05,
        house: str | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self._router, self._keys, self._keep = router, keys, keep
        self.opened = 0  # connections, by clients that keep theirs
        self._clients, self._rate, self._slow = clients, rate, slow
        self._random, self._house = random.Random(seed), house
        super().__init__("load")

    def wait_for(self, more: int, seconds: float = 60.0, *, key: Key | None = None) -> None:
        """Return once so many more calls were served (of this key)."""

        def served() -> int:
            return sum(call.served and key in (None, call.key) for call in list(self.calls))

        wanted, deadline = served() + more, time.monotonic() + seconds
        while served() < wanted:
            assert time.monotonic() < deadline, f"{more} more calls were not served in {seconds} s: {self.told()}"
            time.sleep(0.02)

    def told(self, since: float = 0.0) -> Counter[str]:
        """How many calls ended how."""
        return Counter(
            "served" if call.served else call.reply.code or f"broken {call.reply.status}"
            for call in list(self.calls)
            if call.at >= since
        )

    def _work(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(self._clients)))

    async def _client(self) -> None:
        pause = 0.0 if self._rate is None else self._clients / self._rate
        client = http_kit.Client()
        post = client.post if self._keep else http_kit.post
        while not self._ending.is_set():
            began = time.monotonic()
            chance = self._random.random()
            key = self._random.choice(self._keys)
            words = self._random.randrange(1, 20)
            # Nothing is drawn where there is none: the choices of a seed stay what they were.
            house = self._house if self._house is not None and self._random.random() < 0.3 else None
            if chance < 0.6:
                done = await one(self._router, key, words=words, post=post, house=house)
            else:
                slow, stream = self._random.random() * self._slow, chance < 0.8
                done = await one(self._router, key, words=words, stream=stream, slow=slow, post=post, house=house)
            self.calls.append(done)
            if done.reply.status == 0:
                await asyncio.sleep(0.02)  # nobody listens just now
            await asyncio.sleep(max(0.0, began + pause - time.monotonic()))
        client.close()
        self.opened += client.opened


class Repeat(_InThread):
    """A chore, repeated until the end."""

    def __init__(self, chore: Callable[[], object], pause_seconds: float) -> None:
        self.count = 0
        self._chore, self._pause_seconds = chore, pause_seconds
        super().__init__("repeat")

    def _work(self) -> None:
        while not self._ending.wait(self._pause_seconds):
            self._chore()
            self.count += 1

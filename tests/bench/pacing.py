"""A load at a fixed rate that does not wait for slow answers: what clients see while something happens to the router."""

import http.client
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urlsplit

from upstreams import CHAT

THREADS = 64
TIMEOUT_SECONDS = 40.0


@dataclass(frozen=True)
class Answer:
    """One request: when it was due and when its answer was there (monotonic), and the answer's status; 0 is none."""

    due: float
    ended: float
    status: int

    @property
    def seconds(self) -> float:
        """Counted from the moment it was due: a client that had to wait for a connection waited for an answer."""
        return self.ended - self.due


@dataclass
class Group:
    """The answers to one kind of client."""

    name: str
    keys: Sequence[str]
    answers: list[Answer] = field(default_factory=list)

    def failed(self) -> list[int]:
        return [answer.status for answer in self.answers if answer.status != 200]

    def pause(self) -> float:
        """The longest time without any good answer, in seconds."""
        ends = sorted(answer.ended for answer in self.answers if answer.status == 200)
        return max((later - earlier for earlier, later in pairwise(ends)), default=float("inf"))

    def percentile_ms(self, part: float) -> float:
        took = sorted(answer.seconds for answer in self.answers)
        return took[int(len(took) * part)] * 1000

    def clear(self) -> None:
        self.answers = []


class Clients:
    """Clients of several groups, each group at `rate` requests a second, its keys in turn."""

    def __init__(self, url: str, body: str, groups: Sequence[Group], rate: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._body, self._groups, self._rate = body.encode(), groups, rate
        self._here = threading.local()
        self._opened: list[http.client.HTTPConnection] = []
        self._over = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send for as long as the block lasts; at its end every answer has come."""
        self._over.clear()
        with ThreadPoolExecutor(THREADS) as pool:
            ticker = threading.Thread(target=self._tick, args=(pool,))
            ticker.start()
            try:
                yield
            finally:
                self._over.set()
                ticker.join()
        while self._opened:
            self._opened.pop().close()

    def _tick(self, pool: ThreadPoolExecutor) -> None:
        started, number = time.monotonic(), 0
        while not self._over.wait(max(0.0, started + number / self._rate - time.monotonic())):
            for group in self._groups:
                pool.submit(self._ask, group, group.keys[number % len(group.keys)], time.monotonic())
            number += 1

    def _ask(self, group: Group, key: str, due: float) -> None:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        try:
            connection = self._connection()
            connection.request("POST", CHAT, self._body, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            self._here.connection = None
            status = 0
        group.answers.append(Answer(due, time.monotonic(), status))

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._here, "connection", None)
        if found is None:
            found = self._here.connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
            self._opened.append(found)
        return found

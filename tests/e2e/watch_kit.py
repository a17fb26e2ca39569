"""Somebody else's small requests, while a test does something that must not harm them."""

import json
import threading
import time
from typing import Self

from harness import Router
from raw_http import Ended, bearer, dial, request


class Watch:
    """Small requests one after the other to another provider, and how long each took, until the block ends."""

    def __init__(self, router: Router, key: str) -> None:
        self._router, self._key = router, key
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []
        self.failed: list[object] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with dial(self._router) as line:
            while not self._ended.is_set():
                began = time.monotonic()
                line.send(small_request(self._key))
                try:
                    status = line.answer().status
                except (Ended, OSError) as error:
                    self.failed.append(error)
                    return
                self.seconds.append(time.monotonic() - began)
                if status != 200:
                    self.failed.append(status)
                time.sleep(0.002)

    def p99(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


def small_request(key: str) -> bytes:
    body = json.dumps({"model": "claude-haiku-4-5", "max_tokens": 5, "messages": []}).encode()
    return request(b"POST /anthropic/v1/messages", bearer(key), b"Content-Length: %d" % len(body), body=body)

"""What tests of the key cache share: a time that is moved by hand, and a database that can be slow or switched off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gevent.event import Event
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from proxyd.key_cache import KeyCache
from shared.keys import NewKey
from shared.sealing import Sealer

MakeKey = Callable[..., tuple[str, NewKey]]
DOWN = OperationalError("select", {}, Exception("down"))


class World:
    """Time, and a database that can be slow or switched off."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.calls = 0
        self.down: Exception | None = None
        self.gate: Event | None = None

    def offload(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        if self.gate is not None:
            self.gate.wait()
        if self.down is not None:
            raise self.down
        return function(*arguments)

    @contextmanager
    def slow(self) -> Iterator[Event]:
        self.gate = Event()
        yield self.gate
        self.gate = None

    def cache(self, engine: Engine, sealer: Sealer) -> KeyCache:
        return KeyCache(engine, sealer, self.offload, monotonic=lambda: self.at, now=lambda: self.at)

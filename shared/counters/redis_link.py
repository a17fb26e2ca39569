"""The way to a Redis or Valkey server, a cluster, or what a Sentinel says is the primary.

An answer is waited for a quarter of a second, and nothing is sent twice: whoever sent it knows what may be repeated.
Five failures in a row open the breaker: then only one try a second goes out, and everyone else is told at once.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from limits.errors import ConfigurationError
from limits.storage import RedisStorage, storage_from_string
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoScriptError, RedisError, ResponseError
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as TooSlow
from redis.retry import Retry

from shared.counters.values import CountersLost, CountersUnavailable

log = logging.getLogger(__name__)

ANSWER_SECONDS = 0.25
FAILURES = 5
PROBE_SECONDS = 1.0
SCHEMES = ("redis", "rediss", "redis+unix", "redis+cluster", "redis+sentinel")

T = TypeVar("T")


class Link:
    """Runs commands. Raises CountersUnavailable, with the kind of failure and nothing of the URL.

    Nothing is opened before the first command. Connections are kept, one for each that runs at the same time.
    """

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._monotonic = monotonic
        self._storage: RedisStorage | None = None
        self._failures = 0
        self._probe_at = 0.0

    def run(self, digest: str, key: str, arguments: Sequence[str | int]) -> Any:
        """Run a script by its digest; its reply. Raises CountersLost where the server does not know it."""
        return self._tried(lambda client: client.evalsha(digest, 1, key, *arguments))

    def load(self, script: str) -> None:
        """Let every primary know a script."""
        self._tried(lambda client: client.script_load(script))

    def fields(self, key: str, *names: str) -> list[str | None]:
        """Fields of a hash; None for those that are not there."""
        found = self._tried(lambda client: client.hmget(key, names))
        return [None if value is None else value.decode() for value in found]

    def call(self, ask: Callable[[Any], T]) -> T:
        """Anything else that a client can do."""
        return self._tried(ask)

    def close(self) -> None:
        """Let go of the connections; the next command opens one."""
        storage, self._storage = self._storage, None
        if storage is not None:
            client: Any = storage.get_connection()
            client.close()

    def _client(self) -> Any:
        if self._storage is None:
            # The library's options are passed on to the client's, whose types it does not know.
            options: dict[str, Any] = {
                "socket_timeout": ANSWER_SECONDS,
                "socket_connect_timeout": ANSWER_SECONDS,
                "retry": Retry(NoBackoff(), 0),
            }
            storage = storage_from_string(self._url, **options)
            assert isinstance(storage, RedisStorage)  # noqa: S101 - whoever made us looked at the scheme
            self._storage = storage
        return self._storage.get_connection()

    def _tried(self, ask: Callable[[Any], T]) -> T:
        at = self._monotonic()
        if self._failures >= FAILURES:
            if at < self._probe_at:
                raise CountersUnavailable("they did not answer a moment ago")
            self._probe_at = at + PROBE_SECONDS
        try:
            found = ask(self._client())
        except NoScriptError as error:
            self._failures = 0
            raise CountersLost("the server was restarted, or is another one") from error
        except (ResponseError, AuthenticationError) as error:
            # The server refused before anything was written: no room, read-only, loading, not allowed.
            self._failed(at)
            raise CountersUnavailable(type(error).__name__) from error
        except (NoConnection, TooSlow, OSError, RedisError, ConfigurationError) as error:
            self._failed(at)
            raise CountersUnavailable(type(error).__name__, in_doubt=True) from error
        self._failures = 0
        return found

    def _failed(self, at: float) -> None:
        self._failures += 1
        if self._failures == FAILURES:
            self._probe_at = at + PROBE_SECONDS
            log.error("the counters' server does not answer; it is asked once a second until it does")

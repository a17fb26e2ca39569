"""The way to a Redis or Valkey server, a cluster, or what a Sentinel says is the primary.

An answer is waited for a quarter of a second, and nothing is sent twice: whoever sent it knows what may be repeated.
Five failures in a row open the breaker: then only one try a second goes out, and everyone else is told at once.

Scripts go over connections of our own, because the client's general way of a command costs several times what the
command does: it looks the connection over before each one, and counts and measures around it.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import hiredis
from limits.errors import ConfigurationError
from limits.storage import RedisStorage, storage_from_string
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from shared.counters.redis import storage as ours
from shared.counters.redis import url as urls
from shared.counters.values import CountersLost, CountersUnavailable

log = logging.getLogger(__name__)

ANSWER_SECONDS = 0.25
FAILURES = 5
PROBE_SECONDS = 1.0
# A connection that nobody used for so long may have been closed by what is between; it is looked at before it is used.
IDLE_SECONDS = 1.0

T = TypeVar("T")

# The server refused before anything was written: not allowed, no room, read-only, loading.
_REFUSED = (ResponseError, AuthenticationError, BusyLoadingError)
_FAILED = (RedisError, RedisClusterException, OSError, ConfigurationError)


class _NotSent(Exception):
    """There was no connection to send it over; the cause says why."""


def open_storage(url: str, **options: Any) -> RedisStorage:
    """The storage of `limits` at a URL, with a client that gives up in time and does nothing twice."""
    given: dict[str, Any] = {
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        # With these a connection needs no more than AUTH and SELECT before it is ready.
        "protocol": 2,
        "driver_info": None,
        **options,
    }
    if urls.has_tls(url):
        # A server sends TLS session tickets unasked, and the client's pool takes whatever has come before a command for
        # a fault. The answer to this one makes it read them.
        given["client_name"] = "enterprise-router"
    storage = storage_from_string(url, **given)
    assert isinstance(storage, ours.EXACT)  # noqa: S101 - they are registered in the place of the library's own
    return storage


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
        self._idle: list[tuple[Any, float]] = []  # the connections, each with the time when it was used last
        self._pid = os.getpid()

    def run(self, digest: str, key: str, arguments: Sequence[str | int]) -> Any:
        """Run a script by its digest; its reply. Raises CountersLost where the server does not know it."""
        return self._tried(lambda: self._send(digest, key, arguments))

    def load(self, script: str) -> None:
        """Let every primary know a script."""
        self.call(lambda client: client.script_load(script))

    def knows(self, digest: str) -> bool:
        """Whether every primary does."""
        return all(self.call(lambda client: client.script_exists(digest)))

    def fields(self, key: str, *names: str) -> list[str | None]:
        """Fields of a hash; None for those that are not there."""
        found = self.call(lambda client: client.hmget(key, names))
        return [None if value is None else value.decode() for value in found]

    def call(self, ask: Callable[[Any], T]) -> T:
        """Anything else that a client can do."""
        return self._tried(lambda: ask(self._client()))

    def close(self) -> None:
        """Let go of the connections; the next command opens one."""
        self._drop_idle()
        storage, self._storage = self._storage, None
        if storage is not None:
            client: Any = storage.get_connection()
            client.close()

    def _client(self) -> Any:
        if self._storage is None:
            try:
                self._storage = open_storage(self._url)
            except _FAILED as error:
                raise _NotSent from error
        return self._storage.get_connection()

    def _send(self, digest: str, key: str, arguments: Sequence[str | int]) -> Any:
        if self._url.startswith("redis+cluster:"):
            return self._client().evalsha(digest, 1, key, *arguments)  # it knows who is asked, and follows what moves
        connection = self._connection()
        try:
            command: tuple[Any, ...] = ("EVALSHA", digest, 1, key, *arguments)
            packed = hiredis.pack_command(command)
            connection.send_packed_command((packed,), check_health=False)
            found = connection.read_response()
        except BaseException:
            connection.disconnect()  # half a command or half an answer may be in it, or the server may be a replica now
            raise
        self._idle.append((connection, self._monotonic()))
        return found

    def _connection(self) -> Any:
        """One that nobody uses, or a new one. After a fork those of the parent are its own."""
        if self._pid != os.getpid():
            self._pid, self._idle = os.getpid(), []
        while (kept := self._pop_idle()) is not None:
            connection, used_at = kept
            if self._monotonic() - used_at < IDLE_SECONDS or _is_open(connection):
                return connection
            connection.disconnect()
        pool = self._client().connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        try:
            connection.connect()
        except _FAILED as error:
            raise _NotSent from error
        return connection

    def _drop_idle(self) -> None:
        while (kept := self._pop_idle()) is not None:
            kept[0].disconnect()

    def _pop_idle(self) -> tuple[Any, float] | None:
        try:
            return self._idle.pop()
        except IndexError:  # found out like this, because threads share the list
            return None

    def _tried(self, ask: Callable[[], T]) -> T:
        if self._failures >= FAILURES:
            at = self._monotonic()
            if at < self._probe_at:
                raise CountersUnavailable("they did not answer a moment ago")
            self._probe_at = at + PROBE_SECONDS
        try:
            found = ask()
        except NoScriptError as error:
            self._failures = 0
            raise CountersLost("the server was restarted, or is another one") from error
        except _NotSent as error:
            raise self._failed(error.__cause__) from error
        except _REFUSED as error:
            if _met_what_is_none_of_ours(error):
                self._failures = 0
                raise CountersLost("something else stands in their place") from error
            raise self._failed(error) from error
        except _FAILED as error:
            raise self._failed(error, in_doubt=True) from error
        if self._failures:
            if self._failures >= FAILURES:
                log.warning("the counters' server can be used again")
            self._failures = 0
        return found

    def _failed(self, error: BaseException | None, *, in_doubt: bool = False) -> CountersUnavailable:
        kind = _kind(error)
        self._drop_idle()
        self._failures += 1
        if self._failures == FAILURES:
            self._probe_at = self._monotonic() + PROBE_SECONDS
            log.error("the counters' server cannot be used (%s); it is asked once a second until it can", kind)
        return CountersUnavailable(kind, in_doubt=in_doubt)


def _is_open(connection: Any) -> bool:
    """Whether nothing has come in that nobody asked for, as does the end of what was closed."""
    try:
        return not connection.can_read(0)
    except _FAILED:
        return False


def _met_what_is_none_of_ours(error: BaseException) -> bool:
    """Whether the script found what it cannot have written itself, and so broke off, perhaps half-way."""
    return isinstance(error, ResponseError) and str(error).startswith(("WRONGTYPE ", "user_script:"))


def _kind(error: BaseException | None) -> str:
    """The server's own code of an error (MISCONF, NOREPLICAS, ...), or what the client calls it."""
    code = str(error).partition(" ")[0]
    return code if isinstance(error, ResponseError) and code.isalpha() and code.isupper() else type(error).__name__

"""What the processes of the router ask of the counters, whatever storage they stand on."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from limits.storage import storage_from_string

from shared.counters.clock import Clock, SystemClock
from shared.counters.moments import Moment, period_of_day
from shared.counters.redis.url import SCHEMES, check_url
from shared.counters.rows import KeyRow
from shared.counters.shared_state import SharedState
from shared.counters.sqlite import SqliteCounters
from shared.counters.storage import SqliteStorage, path_of
from shared.counters.throttle import LoginThrottle, SqliteLoginThrottle
from shared.counters.values import (
    Batch,
    CountersStatus,
    Decision,
    Hold,
    KeySpend,
    RateBucket,
    RateState,
    Seed,
    SpendState,
    WorkerReplay,
    WorkerState,
)


class Counters(Protocol):
    """Every method may raise `CountersUnavailable`; what writes, `CountersLost`.

    Methods are safe to call from threads, forked processes and greenlets.
    """

    def attach(self, shared_state: SharedState | None) -> None: ...
    def refuse_foreign(self, installation: int) -> None: ...
    def apply_batch(self, batch: Batch) -> list[Decision]: ...
    def register(self, worker_id: str, generation: int) -> None: ...
    def join(self, replay: WorkerReplay) -> None: ...
    def close_worker(self, replay: WorkerReplay) -> bool: ...
    def worker_state(self, worker_id: str) -> WorkerState | None: ...
    def begin_generation(
        self, generation: int, workers: Mapping[str, int], organizations: Collection[str] = ()
    ) -> None: ...
    def restore_requests(self, generation: int, buckets: Iterable[RateBucket]) -> None: ...
    def go_live(self, generation: int) -> None: ...
    def checkpoint(self) -> None: ...
    def publish(self, generation: int, keys: Mapping[str, int], orgs: Mapping[str, int]) -> None: ...
    def seed(self, generation: int, seeds: Iterable[Seed]) -> None: ...
    def status(self) -> CountersStatus: ...
    def rows(self, key_ids: Sequence[str]) -> dict[str, KeyRow]: ...
    def org_version(self, org_id: str) -> int: ...
    def moment(self) -> Moment: ...

    @property
    def intact(self) -> bool:
        """Whether nobody replaced or touched them."""

    @property
    def shared(self) -> "SharedCounters | None":
        """The same, if other machines use them too; None if they are this machine's own."""

    def check(self) -> bool: ...
    def close(self) -> None: ...


class SharedCounters(Protocol):
    """What a ledger writer asks of counters that other machines use too. Raises as `Counters` does."""

    def adopt(self, status: CountersStatus, buckets: Iterable[RateBucket]) -> None: ...
    def fence(self, generation: int, worker_id: str, holds: Iterable[Hold]) -> None: ...


def connect(url: str, *, clock: Clock | None = None, sleep: Callable[[float], None] = time.sleep) -> Counters:
    """The counters at a URL of the `limits` library. Nothing is opened before it is used.

    Raises ValueError, with a sentence that repeats nothing of the URL but its scheme.
    """
    if _is_of_server(url):
        # Here, because the client costs a process 7 MB and a good part of a second that a file has no use for.
        from shared.counters.redis import client  # noqa: PLC0415

        return client.connect(url, clock=clock)
    storage = storage_from_string(url, clock=clock, sleep=sleep, fill=None)  # type: ignore[arg-type] # the library passes options on
    if not isinstance(storage, SqliteStorage):
        raise TypeError("another storage is registered for sqlite://")
    return SqliteCounters(storage)


def login_throttle(
    url: str, *, clock: Clock | None = None, sleep: Callable[[float], None] = time.sleep
) -> LoginThrottle:
    """The memory of failed logins that belongs to the counters at a URL; it outlives them."""
    if _is_of_server(url):
        from shared.counters.redis import client  # noqa: PLC0415 - as above

        return client.login_throttle(url, clock=clock)
    path = path_of(url)
    return SqliteLoginThrottle(path.with_name(f"{path.stem}-logins.db"), clock=clock or SystemClock(), sleep=sleep)


def spend_of(row: KeyRow | None, moment: Moment, spend_reset: str, limit_nanos: int | None) -> KeySpend:
    """A key's money as its row tells it; nothing is spent where there is no row."""
    row = row or KeyRow.new()
    return KeySpend(row.spend(period_of_day(spend_reset, moment.day), limit_nanos), row.lifetime)


def state_of(
    row: KeyRow | None,
    moment: Moment,
    *,
    rpm: int | None,
    spend_reset: str,
    limit_nanos: int | None,
    tpm: int | None = None,
) -> tuple[RateState | None, SpendState, RateState | None]:
    """What is left of a key's limits now: of requests, money and tokens."""
    row = row or KeyRow.new()
    return (
        None if rpm is None else row.rate(moment, rpm),
        row.spend(period_of_day(spend_reset, moment.day), limit_nanos),
        None if tpm is None else row.token_rate(moment, tpm),
    )


def _is_of_server(url: str) -> bool:
    """Or of a file. Raises ValueError if it is neither, or cannot be used."""
    scheme = url.partition("://")[0]
    if scheme in SCHEMES:
        check_url(url)
        return True
    if scheme != "sqlite":
        raise ValueError(f"it must begin with {', '.join(f'{known}://' for known in SCHEMES)} or sqlite:///")
    path_of(url)
    return False


__all__ = ["Counters", "SharedCounters", "connect", "login_throttle", "spend_of", "state_of"]

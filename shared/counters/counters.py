"""What the gateway and the dashboard see of the counters: `connect`, `Counters.admit` and the ends of a reservation."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import date

from limits.storage import storage_from_string

from shared.counters import budget, epoch
from shared.counters.database import Session
from shared.counters.rate import RequestRate
from shared.counters.sqlite import SqliteStorage, path_of
from shared.counters.throttle import LoginThrottle
from shared.counters.values import (
    Admission,
    Admitted,
    Charge,
    KeySpend,
    Post,
    RateLimited,
    RateState,
    SpendState,
    Stale,
    Unseeded,
)
from shared.money import MAX_NANOS

# All that an admission depends on, in one look: a statement costs more than what it reads.
_LOOK = """
SELECT meta.generation, meta.seeded,
       (SELECT number FROM epoch WHERE org_id = ?1),
       (SELECT ends FROM lease WHERE worker_id = ?2),
       (SELECT day FROM hold WHERE reservation_id = ?3),
       (SELECT at FROM done WHERE reservation_id = ?3),
       SUM(spend.spent), SUM(spend.held)
FROM meta LEFT JOIN spend ON spend.key_id = ?4 AND spend.day >= ?5 AND spend.day < ?6
"""
_BATCH = 1000
_MOST_BATCHES = 100


def connect(
    url: str, *, clock: Callable[[], float] = time.time, sleep: Callable[[float], None] = time.sleep
) -> "Counters":
    """The counters at a URL of the `limits` library. The file is opened, and made if need be, on first use.

    Raises ValueError, with a sentence that repeats nothing of the URL but its scheme.
    """
    scheme = url.partition("://")[0]
    if scheme != "sqlite":
        raise ValueError(f"{scheme}:// is not supported in this release; use sqlite:///")
    path_of(url)
    storage = storage_from_string(url, clock=clock, sleep=sleep)  # type: ignore[arg-type]
    if not isinstance(storage, SqliteStorage):
        raise TypeError("another storage is registered for sqlite://")
    return Counters(storage, sleep=sleep)


class Counters:
    """Rates, budgets, policy epochs and the login throttle, shared by all processes.

    Every method may raise `CountersUnavailable`. Methods are safe to call from threads, forked processes and greenlets.
    """

    def __init__(self, storage: SqliteStorage, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._storage = storage
        self._database = storage.database
        self._sleep = sleep
        self._rate = RequestRate(storage)
        self.throttle = LoginThrottle(storage.database)

    def turn(self, posts: Sequence[Post], charges: Sequence[Charge]) -> list[Admission]:
        """Settle and release `posts`, then admit `charges`, in one transaction: one commit for all of them.

        Each is judged as by `settle`, `release` and `admit` alone, in this order; a failure undoes all.
        """
        with self._database.transaction() as session:
            for post in posts:
                if post.cost_nanos is None:
                    budget.release(session, post.reservation_id)
                else:
                    cost_nanos = min(post.cost_nanos, MAX_NANOS)
                    budget.settle(session, post.reservation_id, post.key_id, post.day.toordinal(), cost_nanos)
            return [self._admit(session, charge) for charge in charges]

    def admit(self, charge: Charge) -> Admission:
        """Charge one request's rate and hold its bound, both or neither; a refused request consumes nothing.

        A second admission of an open reservation answers as the first did and charges nothing. Raises ValueError
        for one that has ended, and for a negative bound.
        """
        with self._database.transaction(charge.now) as session:
            return self._admit(session, charge)

    def _admit(self, session: Session, charge: Charge) -> Admission:
        bound, limit, key_id = charge.bound_nanos, charge.spend_limit_nanos, charge.key_id
        if bound < 0:
            raise ValueError("a bound is not negative")
        now = session.now
        period = budget.period_at(charge.spend_reset, now)
        generation, seeded, number, lease_ends, hold_day, done_at, spent, held = session.execute(
            _LOOK,
            (charge.org_id, charge.worker_id, charge.reservation_id, key_id, period.start, period.end),
        ).fetchone()
        spent, held = spent or 0, held or 0
        if (number or 0) != charge.expected_epoch:
            return Stale(number or 0)
        if hold_day is not None:
            return self._admitted_before(charge, period, date.fromordinal(hold_day), spent, held)
        if done_at is not None:
            raise ValueError("this reservation has ended")
        if limit is not None and not seeded:
            return Unseeded(generation)
        refusal = budget.judge(period, limit, spent, held, bound)
        if refusal is not None and held and budget.lapse(session):
            spent, held = budget.sums(session, key_id, period)
            refusal = budget.judge(period, limit, spent, held, bound)
        if refusal is not None:
            return self._rate.test(session, key_id, charge.rate_limit_rpm) or refusal
        rate = self._rate.charge(session, key_id, charge.rate_limit_rpm)
        if isinstance(rate, RateLimited):
            return rate
        if bound:
            if lease_ends is None or lease_ends <= now:
                budget.keep_lease(session, charge.worker_id, now + budget.LEASE_SECONDS)
            budget.hold(session, charge.reservation_id, charge.worker_id, key_id, period.today_ordinal, bound)
        spend = None if limit is None else budget.state(period, limit, spent, held + bound)
        return Admitted(period.today, rate, spend)

    def settle(self, reservation_id: str, key_id: str, day: date, cost_nanos: int) -> bool:
        """Post the true cost in the place of the hold, on the hold's own key and day. False: ended before, no effect.

        `key_id` and `day` serve where no hold is known (it lapsed, or its bound was 0): then the cost is posted there.
        """
        if cost_nanos < 0:
            raise ValueError("a cost is not negative")
        with self._database.transaction() as session:
            return budget.settle(session, reservation_id, key_id, day.toordinal(), min(cost_nanos, MAX_NANOS))

    def release(self, reservation_id: str) -> bool:
        """Void: free the hold, nothing is spent. False: ended before, no effect. No later settle posts anything."""
        with self._database.transaction() as session:
            return budget.release(session, reservation_id)

    def spend(self, key_id: str, spend_reset: str, limit_nanos: int | None = None) -> SpendState:
        """What a key has spent and holds in its current period."""
        return budget.read(self._database, key_id, spend_reset, limit_nanos)

    def spend_many(self, keys: Iterable[tuple[str, str, int | None]]) -> dict[str, SpendState]:
        """`spend` of several (key_id, spend_reset, limit_nanos), by key id."""
        return {key_id: self.spend(key_id, reset, limit) for key_id, reset, limit in keys}

    def lifetime(self, key_id: str, spend_reset: str, limit_nanos: int | None = None) -> KeySpend:
        """`spend`, and what the key has spent on all days."""
        return KeySpend(self.spend(key_id, spend_reset, limit_nanos), budget.lifetime(self._database, key_id))

    def lifetime_many(self, keys: Iterable[tuple[str, str, int | None]]) -> dict[str, KeySpend]:
        """`lifetime` of several (key_id, spend_reset, limit_nanos), by key id."""
        return {key_id: self.lifetime(key_id, reset, limit) for key_id, reset, limit in keys}

    def rate(self, key_id: str, rpm: int) -> RateState:
        """What is left of a key's requests per minute."""
        return self._rate.state(key_id, rpm)

    def epoch(self, org_id: str) -> int:
        """The organisation's policy epoch; 0 when it was never bumped."""
        return epoch.read(self._database, org_id)

    def bump_epoch(self, org_id: str) -> int:
        """Make every snapshot of the organisation's policy stale; answer with the new epoch."""
        return epoch.bump(self._database, org_id)

    def generation(self) -> str:
        """The random name of this file's life; another one means that what was counted is lost."""
        return str(self._database.read("SELECT generation FROM meta")[0][0])

    def is_seeded(self) -> bool:
        """Whether this generation knows what was spent before it."""
        return bool(self._database.read("SELECT seeded FROM meta")[0][0])

    def posted_unseeded(self) -> list[str]:
        """Reservations that were settled since the loss and before the seed; see `seed`."""
        return [row[0] for row in self._database.read("SELECT reservation_id FROM early")]

    def seed(self, generation: str, totals: Iterable[tuple[str, date, int]], *, ledgered: Collection[str] = ()) -> bool:
        """Take over the ledger's (key_id, day, nanos), all or none; limits are enforced again from then on.

        False, and nothing done, when the counters are of another generation or are seeded already. Settles since
        the loss are added to the totals, except `ledgered` ones: those of `posted_unseeded` which the totals contain.
        """
        rows = list(totals)  # a query may wait; the transaction must not
        with self._database.transaction() as session:
            return budget.seed(session, generation, rows, ledgered)

    def hold_again(self, reservation_id: str, worker_id: str, key_id: str, day: date, bound_nanos: int) -> None:
        """Put back the hold of a request in flight after a loss. No effect when it is there or has ended."""
        if bound_nanos <= 0:
            return
        with self._database.transaction() as session:
            known = (
                "SELECT (SELECT 1 FROM hold WHERE reservation_id = ?1), (SELECT 1 FROM done WHERE reservation_id = ?1)"
            )
            if session.execute(known, (reservation_id,)).fetchone() == (None, None):
                leased = session.execute("SELECT ends FROM lease WHERE worker_id = ?", (worker_id,)).fetchone()
                if leased is None or leased[0] <= session.now:
                    budget.keep_lease(session, worker_id, session.now + budget.LEASE_SECONDS)
                budget.hold(session, reservation_id, worker_id, key_id, day.toordinal(), bound_nanos)

    def renew(self, worker_id: str, lease_seconds: float = budget.LEASE_SECONDS) -> None:
        """The worker lives: its holds stay for as long again. 0 gives them up to the next `lapse`."""
        with self._database.transaction() as session:
            budget.keep_lease(session, worker_id, session.now + lease_seconds)

    def lapse(self) -> int:
        """Free the holds of workers whose lease has ended, and tidy up. Call it about once a minute.

        Answers with the number of holds freed. Tidying goes in short transactions with a pause between them, so
        that no request waits long.
        """
        with self._database.transaction() as session:
            freed = budget.lapse(session)
            self._storage.prune(session)
            self.throttle.prune(session)
        for _ in range(_MOST_BATCHES):
            with self._database.transaction() as session:
                if budget.forget_done(session, _BATCH) < _BATCH:
                    break
            self._sleep(0.001)
        for _ in range(_MOST_BATCHES):
            if not (key_ids := budget.keys_to_fold(self._database, _BATCH // 10)):
                break
            with self._database.transaction() as session:
                budget.fold(session, key_ids)
            self._sleep(0.001)
        return freed

    def check(self) -> bool:
        """Whether the counters can be written now."""
        return self._storage.check()

    def close(self) -> None:
        """Close this thread's connection. The next call opens one again."""
        self._database.close()

    def _admitted_before(self, charge: Charge, period: budget.Period, day: date, spent: int, held: int) -> Admitted:
        limit, rpm = charge.spend_limit_nanos, charge.rate_limit_rpm
        rate = None if rpm is None else self._rate.state(charge.key_id, rpm)
        return Admitted(day, rate, None if limit is None else budget.state(period, limit, spent, held))

"""The spend budget: money held and spent by each key on each UTC day.

Invariant: at every admission of a key with a limit, spent + held of its period, this request included, is at most the
limit, whatever runs at the same time in whichever process. A period is a run of whole days, so a limit or a reset
that is changed later finds what was already used; every request with a bound holds and settles, limit or not.

A hold ends once: `settle` posts the true cost in its place, `release` frees it, and the reservation id then stays in
`done` for two days, so that a second end of the same attempt does nothing. A hold whose worker's lease has ended
`lapse`s: it is freed without being done, because the cost may still be told by the journal that the worker left.

Amounts never reach 2**53 (see `shared.money`): an admission that would is refused, a cost that would is cut there.

The functions take the session of an open transaction, as `counters` composes several of them into one.
"""

from collections.abc import Collection, Iterable
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from shared.counters.database import Database, Session
from shared.counters.values import SpendExceeded, SpendHeld, SpendState
from shared.money import MAX_NANOS
from shared.periods import day_of, period_of

DAY_SECONDS = 86400
LEASE_SECONDS = 300.0
DONE_SECONDS = 48 * 3600
KEEP_DAYS = 70  # more than any period that ends; older days are folded into one row
_BASE_DAY = 0  # the row of the folded days
_NEVER_ENDS = date.max.toordinal()

SUMS = "SELECT SUM(spent), SUM(held) FROM spend WHERE key_id = ? AND day >= ? AND day < ?"
_LIFETIME = "SELECT SUM(spent) FROM spend WHERE key_id = ?"
# The literal is MAX_NANOS of shared.money.
_HOLD_MORE = """
INSERT INTO spend VALUES (?, ?, 0, ?)
ON CONFLICT DO UPDATE SET held = MIN(held + excluded.held, 9007199254740991)
"""
_POST = """
INSERT INTO spend VALUES (?, ?, ?, 0)
ON CONFLICT DO UPDATE SET spent = MIN(spent + excluded.spent, 9007199254740991)
"""
_REPLACE_HELD = """
UPDATE spend SET spent = MIN(spent + ?, 9007199254740991), held = MAX(0, held - ?) WHERE key_id = ? AND day = ?
"""
_END = "INSERT OR IGNORE INTO done VALUES (?, ?)"
_TAKE_HOLD = "DELETE FROM hold WHERE reservation_id = ? RETURNING key_id, day, nanos"


class Period(NamedTuple):
    """The period of one moment: ordinals [start, end) for the rows, dates for people, and the day itself."""

    start: int
    end: int
    start_date: date
    resets_on: date | None
    today: date
    today_ordinal: int


def period_at(reset: str, now: float) -> Period:
    """The period that holds `now` (Unix seconds). Raises ValueError for an unknown reset."""
    return _period_of_day(reset, int(now // DAY_SECONDS))


@lru_cache(maxsize=64)
def _period_of_day(reset: str, unix_day: int) -> Period:
    start, end = period_of(reset, unix_day * DAY_SECONDS)
    today = day_of(unix_day * DAY_SECONDS)
    if end is None:
        return Period(_BASE_DAY, _NEVER_ENDS, start, None, today, today.toordinal())
    return Period(start.toordinal(), end.toordinal(), start, end, today, today.toordinal())


def state(period: Period, limit_nanos: int | None, spent: int, held: int) -> SpendState:
    remaining = None if limit_nanos is None else max(0, limit_nanos - spent - held)
    spent, held = min(spent, MAX_NANOS), min(held, MAX_NANOS)
    return SpendState(limit_nanos, spent, held, remaining, period.start_date, period.resets_on)


def sums(session: Session, key_id: str, period: Period) -> tuple[int, int]:
    """Nanos spent and held in a period."""
    spent, held = session.execute(SUMS, (key_id, period.start, period.end)).fetchone()
    return spent or 0, held or 0


def read(database: Database, key_id: str, reset: str, limit_nanos: int | None) -> SpendState:
    """The current period, without a transaction."""
    period = period_at(reset, database.now())
    ((spent, held),) = database.read(SUMS, (key_id, period.start, period.end))
    return state(period, limit_nanos, spent or 0, held or 0)


def lifetime(database: Database, key_id: str) -> int:
    """Nanos spent on all days."""
    ((spent,),) = database.read(_LIFETIME, (key_id,))
    return min(spent or 0, MAX_NANOS)


def judge(
    period: Period, limit_nanos: int | None, spent: int, held: int, bound: int
) -> SpendExceeded | SpendHeld | None:
    """Whether a bound fits into what is left. Without a limit, the largest amount that can be counted is one."""
    limit = MAX_NANOS if limit_nanos is None else limit_nanos
    if spent + bound > limit:
        return SpendExceeded(state(period, limit_nanos, spent, held))
    lacking = spent + held + bound - limit
    if lacking > 0:
        # The larger the part of the holds that must end before this fits, the longer it is likely to take.
        return SpendHeld(state(period, limit_nanos, spent, held), 1 + min(4, 4 * lacking // held))
    return None


def hold(session: Session, reservation_id: str, worker_id: str, key_id: str, day: int, bound: int) -> None:
    """Keep `bound` back on a day (an ordinal), under the worker's lease."""
    session.execute("INSERT INTO hold VALUES (?, ?, ?, ?, ?)", (reservation_id, worker_id, key_id, day, bound))
    session.execute(_HOLD_MORE, (key_id, day, bound))


def keep_lease(session: Session, worker_id: str, ends: float) -> None:
    """The worker is alive until `ends` (Unix seconds)."""
    session.execute("INSERT OR REPLACE INTO lease VALUES (?, ?)", (worker_id, ends))


def settle(session: Session, reservation_id: str, key_id: str, day: int, cost: int) -> bool:
    """Post the cost in the place of the hold; False when this reservation has ended before."""
    if not session.execute(_END, (reservation_id, int(session.now))).rowcount:
        return False
    found = session.execute(_TAKE_HOLD, (reservation_id,)).fetchall()
    if found:
        key_id, day, held = found[0]
        session.execute(_REPLACE_HELD, (cost, held, key_id, day))
    else:
        session.execute(_POST, (key_id, day, cost))
    if not session.seeded:
        session.seeded = is_seeded(session)
    if not session.seeded:
        session.execute("INSERT OR IGNORE INTO early VALUES (?, ?, ?, ?)", (reservation_id, key_id, day, cost))
    return True


def release(session: Session, reservation_id: str) -> bool:
    """Free the hold; False when this reservation has ended before."""
    if not session.execute(_END, (reservation_id, int(session.now))).rowcount:
        return False
    for key_id, day, held in session.execute(_TAKE_HOLD, (reservation_id,)).fetchall():
        session.execute(_REPLACE_HELD, (0, held, key_id, day))
    return True


def lapse(session: Session) -> int:
    """Free the holds of every worker whose lease has ended; answer with how many."""
    freed = 0
    ended = session.execute("SELECT worker_id FROM lease WHERE ends <= ?", (session.now,)).fetchall()
    for worker in ended:
        sql = "DELETE FROM hold WHERE worker_id = ? RETURNING key_id, day, nanos"
        for key_id, day, held in session.execute(sql, worker).fetchall():
            session.execute(_REPLACE_HELD, (0, held, key_id, day))
            freed += 1
        session.execute("DELETE FROM lease WHERE worker_id = ?", worker)
    return freed


def is_seeded(session: Session) -> bool:
    return bool(session.execute("SELECT seeded FROM meta").fetchone()[0])


def seed(session: Session, generation: str, totals: Iterable[tuple[str, date, int]], ledgered: Collection[str]) -> bool:
    """Take over the ledger's totals; False when the generation is another one or has them already.

    Costs that were settled since the loss are added to the totals, except those of `ledgered` reservations, which
    the totals contain.
    """
    if session.execute("SELECT generation, seeded FROM meta").fetchone() != (generation, 0):
        return False
    oldest = day_of(session.now).toordinal() - KEEP_DAYS
    session.execute("UPDATE spend SET spent = 0")
    for key_id, day, nanos in totals:
        ordinal = day.toordinal()
        session.execute(_POST, (key_id, ordinal if ordinal >= oldest else _BASE_DAY, min(nanos, MAX_NANOS)))
    for reservation_id, *posted in session.execute("SELECT * FROM early").fetchall():
        if reservation_id not in ledgered:
            session.execute(_POST, posted)
    session.execute("DELETE FROM early")
    session.execute("UPDATE meta SET seeded = 1")
    return True


def fold(session: Session, key_ids: Iterable[str]) -> None:
    """Add the days of these keys that no period can ask for any more into one row each."""
    oldest = day_of(session.now).toordinal() - KEEP_DAYS
    for key_id in key_ids:
        sql = "DELETE FROM spend WHERE key_id = ? AND day > ? AND day < ? AND held = 0 RETURNING spent"
        rows = session.execute(sql, (key_id, _BASE_DAY, oldest)).fetchall()
        session.execute(_POST, (key_id, _BASE_DAY, min(sum(spent for (spent,) in rows), MAX_NANOS)))


def keys_to_fold(database: Database, at_most: int) -> list[str]:
    """Some keys that have days to fold."""
    oldest = day_of(database.now()).toordinal() - KEEP_DAYS
    sql = "SELECT DISTINCT key_id FROM spend WHERE day > ? AND day < ? AND held = 0 LIMIT ?"
    return [key_id for (key_id,) in database.read(sql, (_BASE_DAY, oldest, at_most))]


def forget_done(session: Session, at_most: int) -> int:
    """Delete old ends among the first `at_most` in the order of ids, which is that of time for ours."""
    sql = (
        "DELETE FROM done WHERE reservation_id IN (SELECT reservation_id FROM"
        " (SELECT reservation_id, at FROM done ORDER BY reservation_id LIMIT ?) WHERE at < ?)"
    )
    return session.execute(sql, (at_most, int(session.now) - DONE_SECONDS)).rowcount

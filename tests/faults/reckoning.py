"""What must be true once all is quiet, whatever was done to the router: its ledger, the provider's invoice and the
counters tell the same story, of which no call is missing and none is told twice."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import SimpleNamespace
from typing import Any

import requests
from harness import Router, eventually
from load_kit import Call, Key, Repeat
from sqlalchemy import Row, select

from shared import counters, db, money
from shared.counters import CountersUnavailable, KeyRow
from shared.models import AccountingState, KeySpend, UsageRecord
from shared.policy import matches_model
from shared.seeds import read_seeds
from webapp.verification.counted import CounterCheck
from webapp.verification.ledger import ranges, verify_range
from webapp.verification.values import Report

QUIET_SECONDS = 10.0
ALL_DAYS = date(1970, 1, 1)


@dataclass(slots=True)
class Reckoned:
    """What was found, for the page of guarantees."""

    calls: int = 0
    attempts: int = 0
    rows: int = 0
    crash_rows: int = 0
    estimated_rows: int = 0
    retried_rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.calls} calls, {self.attempts} seen by the provider, {self.rows} rows, of them "
            f"{self.crash_rows} after a crash and {self.estimated_rows} estimated"
            f"{f', beside {self.retried_rows} of credentials that failed' if self.retried_rows else ''}"
            f"; {dict(self.outcomes)}"
        )


class Audit:
    """The three that have to agree."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._engine = db.create(router.settings.database_url)
        self._counters = counters.connect(router.settings.limits_url)

    def rows(self, keys: Iterable[Key]) -> list[Row[Any]]:
        """The ledger's rows of these keys."""
        ids = [key.id for key in keys]
        with self._engine.connect() as connection:
            return list(connection.execute(select(UsageRecord.__table__).where(UsageRecord.key_id.in_(ids))).all())

    def totals(self, keys: Iterable[Key]) -> dict[str, int]:
        """What each key has cost in all, as counters are seeded with it."""
        ids = [key.id for key in keys]
        with self._engine.connect() as connection:
            found = connection.execute(
                select(KeySpend.key_id, KeySpend.total_nanos).where(KeySpend.key_id.in_(ids), KeySpend.day == ALL_DAYS)
            )
            return {key_id: int(nanos) for key_id, nanos in found}

    def counted(self, keys: Iterable[Key]) -> dict[str, KeyRow]:
        """What the counters say, with what the proxy would let them know as soon as somebody asks."""
        rows = self._counters.rows([key.id for key in keys])
        untold = [key_id for key_id, row in rows.items() if not row.seeded]
        with self._engine.connect() as connection:
            moment, generation = self._counters.moment(), self._counters.status().generation
            seeds = read_seeds(connection, untold, generation, moment.day)
        assert seeds is not None, "the counters are of another generation than the database"
        for key_id, seed in seeds.items():
            rows[key_id].seed(seed)
        return rows

    def held(self, keys: Iterable[Key]) -> int | None:
        """Nano-dollars held for these keys and requests of theirs in flight, added up.

        None while the counters do not answer, are not complete, or were not told of something that was posted.
        """
        with self._engine.connect() as connection:
            state = connection.execute(select(AccountingState.generation, AccountingState.outdated)).one()
        try:
            status = self._counters.status()
            if not status.live or not status.generation == state.generation > state.outdated:
                return None
            rows = self._counters.rows([key.id for key in keys])
            return sum(row.in_flight + sum(held for _, held in row.days.values()) for row in rows.values())
        except CountersUnavailable:
            return None

    def verify(self) -> None:
        """As the command `ledger verify` does it, without the start of an interpreter each time."""
        report = Report()
        check = CounterCheck(self._engine, self._counters, report)
        for within in ranges(self._engine):
            check.look(within, verify_range(self._engine, within, report))
            check.look_at_models(within)
        check.look_together()
        check.finish()
        assert report.exit_code == 0, "\n".join(report.lines())

    def close(self) -> None:
        self._counters.close()
        self._engine.dispose()


def reckon(
    router: Router,
    calls: Sequence[Call],
    keys: Sequence[Key],
    *,
    verify: bool = True,
    by_command: bool = False,
    quiet_seconds: float = QUIET_SECONDS,
) -> Reckoned:
    """Wait until all is quiet, so long at most, and compare. All of `keys`' traffic must be in `calls`.

    The ledger is verified here, or by a process of its own, if the router goes by a clock that is not ours.
    """
    audit = Audit(router)
    try:
        _wait_until_quiet(router, audit, calls, keys, quiet_seconds)
        found = _reckon(router, audit, calls, keys)
        if by_command:
            router.run("-m", "flask", "--app", "wsgi", "ledger", "verify")
        elif verify:
            audit.verify()
        return found
    finally:
        audit.close()


def _wait_until_quiet(router: Router, audit: Audit, calls: Sequence[Call], keys: Sequence[Key], seconds: float) -> None:
    attempts = _attempts(router, {call.name for call in calls})

    def quiet() -> bool:
        have = {name_of(row) for row in audit.rows(keys) if not was_retried(row)}
        return audit.held(keys) == 0 and attempts.keys() <= have

    eventually(quiet, seconds, "the end of all holds, with every attempt in the ledger,")


def _reckon(router: Router, audit: Audit, calls: Sequence[Call], keys: Sequence[Key]) -> Reckoned:
    names = {call.name for call in calls}
    attempts = _attempts(router, names)
    several = with_adjustments(audit.rows(keys))
    rows, retried = [row for row in several if not was_retried(row)], [row for row in several if was_retried(row)]
    assert {(row.cost_nanos, row.outcome) for row in retried} <= {(0, "provider_error")}, (
        "a credential failed and costs"
    )
    assert {row.id.rpartition("-")[0] for row in retried} <= {row.id for row in rows}, "of a call that is not there"
    found = Reckoned(len(calls), len(attempts), len(rows), retried_rows=len(retried))
    by_name: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by_name[name_of(row)].append(row)
        found.outcomes[row.outcome] += 1
        found.crash_rows += row.outcome == "crash"
        found.estimated_rows += "estimated" in row.flags
    assert by_name.keys() <= names, "rows that nobody asked for"
    for call in calls:
        _judge(call, attempts.get(call.name, []), by_name[call.name])
    _compare_counters(audit, keys, rows)
    for key in keys:
        told, own = router.key(key.id), [row for row in rows if row.key_id == key.id]
        said = told["spend"]["lifetime_usd"]
        assert said == money.to_usd(sum(row.cost_nanos for row in own)), f"{key}: told wrong"
        for limit in told["model_limits"]:  # none of which resets
            counts = [row for row in own if matches_model(limit["model"], row.provider, row.requested_model)]
            spent = money.to_usd(sum(row.cost_nanos for row in counts))
            assert (limit["spend"]["spent_usd"], limit["spend"]["held_usd"]) == (spent, "0.00"), f"{key}: {limit}"
    return found


def name_of(row: Any) -> str:
    """The call's, as `load_kit.one` gives it."""
    name: str = row.label or row.requested_model
    return name


def was_retried(row: Any) -> bool:
    """Whether it tells of a credential that was answered 401, 429 or 503, before the call went on with another."""
    return "retried" in row.flags


def with_adjustments(rows: Sequence[Any]) -> list[Any]:
    """One row for each attempt: what the last word on it says, at what all its rows cost together."""
    found: dict[str, Any] = {}
    for row in sorted(rows, key=lambda row: (row.adjusts is not None, len(row.id), row.id)):
        before = found.get(row.adjusts)
        cost_nanos = row.cost_nanos + (before.cost_nanos if before else 0)
        found[row.adjusts or row.id] = SimpleNamespace(**dict(row._mapping) | {"cost_nanos": cost_nanos})
    return list(found.values())


def _attempts(router: Router, names: set[str]) -> dict[str, list[dict[str, Any]]]:
    """What the provider saw, by name, once it has ended."""
    found: dict[str, list[dict[str, Any]]] = {}

    def ended() -> bool:
        found.clear()
        for attempt in router.invoice()["attempts"]:
            name = attempt["marker"].rpartition(" ")[2]
            if name in names:  # others are questions of the router's own, such as how many tokens an input has
                found.setdefault(name, []).append(attempt)
        return all(attempt["finished"] for several in found.values() for attempt in several)

    eventually(ended, 30, "the end of every attempt")
    return found


def _judge(call: Call, attempts: Sequence[dict[str, Any]], rows: Sequence[Any]) -> None:
    told = f"{call.name}: {call.reply.status} {call.reply.code} {call.reply.complete}, {attempts}, {rows}"
    assert len(attempts) <= 1, f"sent twice: {told}"
    assert len(rows) <= 1, f"counted twice: {told}"
    if attempts:
        assert rows, f"lost: {told}"
    elif rows:
        # It died between BEGIN and the first byte: an estimate, as nobody can know.
        assert rows[0].outcome != "ok", f"charged and never sent: {told}"
    if call.refused:
        assert not attempts, f"refused and sent: {told}"
        assert not rows, f"refused and charged: {told}"
    if call.served:
        assert rows, f"served and not charged: {told}"
        assert rows[0].outcome == "ok", f"served, and the ledger knows it otherwise: {told}"
    if attempts and rows[0].outcome == "ok" and "estimated" not in rows[0].flags:
        assert rows[0].cost_nanos == attempts[0]["cost_nanos"], f"another amount than billed: {told}"
    if rows:
        assert rows[0].key_id == call.key.id, f"another's: {told}"
        assert rows[0].cost_nanos <= rows[0].bound_nanos or call.key.limit_usd is None, f"above its bound: {told}"


def _compare_counters(audit: Audit, keys: Sequence[Key], rows: Sequence[Any]) -> None:
    sums: dict[str, int] = defaultdict(int)
    for row in rows:
        sums[row.key_id] += row.cost_nanos
    totals, counted = audit.totals(keys), audit.counted(keys)
    for key in keys:
        spent = sums[key.id]
        assert totals.get(key.id, 0) == spent, f"{key}: the ledger's total is not the sum of its rows"
        if key.id in counted:
            assert counted[key.id].lifetime == spent, f"{key}: the counters are not the ledger"
        if key.limit_usd is not None:
            assert spent <= money.from_usd(key.limit_usd), f"{key}: above its limit"


def limits_are_watched(router: Router, keys: Sequence[Key], pause_seconds: float = 0.05) -> Repeat:
    """While it runs, no look at a key may find spent and held above its limit."""
    capped = [key for key in keys if key.limit_usd is not None]

    def look() -> None:
        for key in capped:
            try:
                answer = router.api("GET", f"/v1/keys/{key.id}")
            except requests.RequestException:
                continue
            if answer.status_code == 200:
                told = answer.json()
                assert _liable(told["spend"]) <= money.from_usd(str(key.limit_usd)), f"{key} at {time.time()}: {told}"
                for limit in told["model_limits"]:
                    most = money.from_usd(limit["spend_limit_usd"])
                    assert _liable(limit["spend"]) <= most, f"{key} at {time.time()}: {limit}"

    return Repeat(look, pause_seconds)


def _liable(spend: dict[str, Any]) -> int:
    return money.from_usd(spend["spent_usd"]) + money.from_usd(spend["held_usd"])

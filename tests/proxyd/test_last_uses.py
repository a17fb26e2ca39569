"""When a key was used last: at once where few are, within seconds where many are, and never lost."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_kit import NOON, attempt, settlement
from sqlalchemy import Engine, event, text

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.last_uses import FEW_KEYS, MOST_KEYS, WAIT_SECONDS, LastUses
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.records import EndRecord

MANY = FEW_KEYS + 50


class Time:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys(any_engine: Engine, database: AccountingDatabase) -> list[str]:
    names = [f"key_{number:04}" for number in range(MANY)]
    with any_engine.begin() as connection:
        connection.execute(
            text(
                "insert into proxy_keys (id, org_id, name, prefix, allowed_providers, allowed_models, allowed_ips,"
                " spend_reset, created_at, created_by, version)"
                " values (:id, 'org_1', 'a', 'p', '[]', '[]', '[]', 'daily', '2026-01-01', 't', 1)"
            ),
            [{"id": name} for name in names],
        )
    return names


class Posts:
    """Posts a request of each of some keys, `later` seconds after noon."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.number = ledger, 0

    def __call__(self, keys: Sequence[str], later: float) -> None:
        start = self.number
        ends = [
            EndRecord(
                start + place, start + place, attempt(start + place, key_id=key, admitted_at=NOON + later), settlement()
            )
            for place, key in enumerate(keys, start=1)
        ]
        self.number += len(keys)
        self.ledger.post("01W", ends, Position(1, start, start), Position(1, self.number, self.number))


def told(engine: Engine) -> dict[str, float | None]:
    """Seconds after noon, of the keys that were made here."""
    noon = datetime.fromtimestamp(NOON, UTC)
    with engine.connect() as connection:
        found = connection.execute(text("select id, last_used_at from proxy_keys where id <> 'key_1'")).all()
    return {
        key: None
        if at is None
        else ((at if isinstance(at, datetime) else datetime.fromisoformat(f"{at}+00:00")) - noon) / timedelta(seconds=1)
        for key, at in found
    }


def test_it_works(any_engine: Engine, keys: list[str]) -> None:
    time = Time()
    ledger = Ledger(any_engine, time)
    post = Posts(ledger)
    post(keys[:FEW_KEYS], 1)
    assert told(any_engine) == {key: 1 if key in keys[:FEW_KEYS] else None for key in keys}
    post(keys, 2)
    if any_engine.dialect.name == "sqlite":
        assert told(any_engine) == {key: 1 if key in keys[:FEW_KEYS] else None for key in keys}
    time.now += WAIT_SECONDS
    post(keys, 3)
    assert set(told(any_engine).values()) == {3}
    post(keys, 4)
    post(keys[:5], 5)
    later = told(any_engine)
    assert {later[key] for key in keys[:5]} == {5}
    time.now += WAIT_SECONDS
    ledger.write_last_uses()
    assert told(any_engine) == {key: 5 if key in keys[:5] else 4 for key in keys}


def test_whoever_ends_in_good_order_writes_all(any_engine: Engine, keys: list[str]) -> None:
    ledger = Ledger(any_engine, Time())
    Posts(ledger)(keys, 1)
    ledger.write_last_uses(at_once=True)
    assert set(told(any_engine).values()) == {1}
    ledger.write_last_uses(at_once=True)


def test_what_a_killed_writer_left_is_restored(any_engine: Engine, keys: list[str]) -> None:
    post = Posts(Ledger(any_engine, Time()))
    post(keys[:-10], 1)
    post(keys[10:], 1 + WAIT_SECONDS)  # what has waited is not known by this clock
    time = Time()
    ledger = Ledger(any_engine, time)
    ledger.restore_last_uses()
    time.now += WAIT_SECONDS
    ledger.write_last_uses()
    assert told(any_engine) == {key: 1 if key in keys[:10] else 1 + WAIT_SECONDS for key in keys}


def test_a_posting_that_failed_takes_no_use_with_it(any_engine: Engine, keys: list[str]) -> None:
    time = Time()
    ledger = Ledger(any_engine, time)
    post = Posts(ledger)
    post(keys, 1)
    time.now += WAIT_SECONDS

    def fail(*_: object) -> None:
        raise RuntimeError("cut off")

    event.listen(any_engine, "commit", fail)
    with pytest.raises(RuntimeError, match="cut off"):
        post(keys, 2)
    event.remove(any_engine, "commit", fail)
    sqlite = any_engine.dialect.name == "sqlite"
    assert set(told(any_engine).values()) == {None if sqlite else 1}
    ledger.write_last_uses()
    assert set(told(any_engine).values()) == {2 if sqlite else 1}


KEY_SETS = st.lists(st.integers(0, FEW_KEYS + 20), unique=True, max_size=FEW_KEYS + 20).map(sorted)


@given(
    steps=st.lists(
        st.tuples(st.floats(0.0, 6.0), st.one_of(st.just([]), KEY_SETS, st.just(list(range(FEW_KEYS + 9))))),
        max_size=12,
    )
)
def test_none_is_late_and_none_goes_back(steps: list[tuple[float, list[int]]]) -> None:
    time = Time()
    uses = LastUses(time)
    stored: dict[str, str] = {}
    used: dict[str, list[tuple[float, str]]] = {}
    for number, (wait, keys) in enumerate(steps):
        time.now += wait
        moment = f"{number:04}"
        rows = [(moment, f"k{key:03}") for key in keys]
        for at, key in rows:
            used.setdefault(key, []).append((time.now, at))
        due = uses.due(rows)
        assert [key for _, key in due] == sorted({key for _, key in due})
        for at, key in due:
            assert stored.get(key, "") < at
            stored[key] = at
        uses.written(due)
        for key, seen in used.items():
            late = [at for since, at in seen if since <= time.now - WAIT_SECONDS]
            assert not late or stored[key] >= late[-1]
            if len(keys) <= FEW_KEYS and (moment, key) in rows:
                assert stored[key] == moment
    left = uses.all()
    stored.update((key, at) for at, key in left)
    uses.written(left)
    assert uses.all() == []
    assert stored == {key: seen[-1][1] for key, seen in used.items()}


def test_no_transaction_takes_more_than_some_that_have_waited() -> None:
    time = Time()
    uses = LastUses(time)
    count = 2 * MOST_KEYS + 1
    assert uses.due([("m", f"k{number:05}") for number in range(count)]) == []
    time.now += WAIT_SECONDS
    sizes = []
    while due := uses.due():
        sizes.append(len(due))
        uses.written(due)
    assert sizes == [MOST_KEYS, MOST_KEYS, 1]


def test_an_older_use_that_is_told_later_changes_nothing() -> None:
    time = Time()
    uses = LastUses(time)
    keys = [f"k{number:03}" for number in range(FEW_KEYS + 1)]
    uses.due([("2", key) for key in keys])
    uses.due([("1", key) for key in keys])
    time.now += WAIT_SECONDS
    assert uses.due() == [("2", key) for key in keys]

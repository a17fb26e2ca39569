"""What organisations used by tag and by label: kept by triggers, whatever is posted and edited, on both databases."""

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import flask_migrate
import pytest
from databases_kit import api_of
from flask import Flask
from sqlalchemy import Engine, delete, insert, text, update
from sqlalchemy.exc import DBAPIError
from verify_kit import forge, make_keys, row, verify, write

from proxyd.accounting.ledger import Ledger
from proxyd.accounting.records import Attempt, Settlement
from shared.models import USAGE_CLASSES, LabelUsage, Organization, ProxyKey, TagUsage, UsageDaily
from webapp.bootstrap import BootstrapReport
from webapp.db import db, writing
from webapp.queries.usage import usage_of_organization
from webapp.verification.organizations import verify_organizations
from webapp.verification.values import Report

DAYS = [date(2026, 11, day) for day in (22, 23, 24)]
TAGS = ("a", "b", "c", "größe")
LABELS = (None, None, "run", "größe")
NUMBERS = count()


@pytest.fixture
def app(made: tuple[Flask, BootstrapReport]) -> Iterator[Flask]:
    with made[0].app_context():
        yield made[0]


@pytest.fixture
def org_id(made: tuple[Flask, BootstrapReport]) -> str:
    return made[1].org_id


def lines(rng: random.Random, org_id: str, keys: list[str], number: int) -> list[tuple[Attempt, Settlement]]:
    """What a journal tells of some requests."""
    found = []
    for _ in range(number):
        day = rng.choice(DAYS)
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() + rng.random()
        usage = {"input_tokens": rng.randrange(9), "output_tokens": 5, "cache_read_tokens": rng.randrange(3)}
        attempt = Attempt(
            f"req_{next(NUMBERS):08d}", org_id, rng.choice(keys), "openai", "/v1/chat/completions",
            rng.choice(("gpt-4o", "gpt-4o-mini")), streamed=False, bound_nanos=9, held_nanos=9, day=day.toordinal(),
            second=100, admitted_at=at, client_ip=None, label=rng.choice(LABELS),
        )  # fmt: skip
        found.append((attempt, Settlement(200, "ok", (), usage, None, None, None, rng.randrange(900), 5, None, 1, 200)))
    return found


def retag(key_id: str, tags: list[str]) -> None:
    with writing() as session:
        session.execute(update(ProxyKey).where(ProxyKey.id == key_id).values(tags=tags))


def differences(engine: Engine) -> list[str]:
    report = Report()
    verify_organizations(engine, report)
    assert report.organization_days
    return [str(one) for one in report.differences]


def by(org_id: str, group: str, days: list[date] = DAYS) -> dict[str, tuple[int, int, int]]:
    found = usage_of_organization(org_id, days[0], days[-1], group)
    return {one.group: (one.requests, one.cost_nanos, one.classes.get("cache_read_tokens", 0)) for one in found.lines}


@pytest.mark.parametrize("seed", range(3))
def test_it_works(app: Flask, org_id: str, seed: int) -> None:
    """However postings and edits of tags follow one another, these sums are those of the keys."""
    rng = random.Random(seed)
    keys, ledger = make_keys(app, None, 4), Ledger(db.engine)
    told: list[tuple[Attempt, Settlement]] = []
    tags: dict[str, list[str]] = {}
    for _ in range(12):
        key_id = rng.choice(keys)
        tags[key_id] = rng.sample(TAGS, rng.randrange(len(TAGS)))
        retag(key_id, tags[key_id])
        new = lines(rng, org_id, keys, 5)
        ledger.post_lines(new)
        told += new
    assert differences(db.engine) == []

    def expected(days: list[date], words: Callable[[Attempt], list[str]]) -> dict[str, tuple[int, int, int]]:
        sums: dict[str, list[int]] = {}
        for attempt, settled in told:
            if date.fromordinal(attempt.day) in days:
                for word in words(attempt) or [""]:
                    total = sums.setdefault(word, [0, 0, 0])
                    for place, amount in enumerate((1, settled.cost_nanos, settled.usage["cache_read_tokens"])):
                        total[place] += amount
        return {word: (total[0], total[1], total[2]) for word, total in sums.items()}

    for days in (DAYS, DAYS[1:], DAYS[:1]):
        assert by(org_id, "tag", days) == expected(days, lambda attempt: tags.get(attempt.key_id, []))
        assert by(org_id, "label", days) == expected(days, lambda attempt: [attempt.label] if attempt.label else [])
    for key_id in keys:
        retag(key_id, [])
    assert set(by(org_id, "tag")) == {""}
    assert differences(db.engine) == []


def test_postings_and_edits_at_once(app: Flask, org_id: str) -> None:
    """Each sees what the other has done, and neither waits for the other in a ring: two ledger writers, two editors."""
    keys, faults = make_keys(app, None, 6), list[Exception]()
    until = datetime.now(UTC) + timedelta(seconds=3)

    def repeat(number: int, act: Callable[[random.Random], object]) -> None:
        rng = random.Random(number)
        try:
            with app.app_context():
                while datetime.now(UTC) < until:
                    act(rng)
        except Exception as error:  # noqa: BLE001 - told at the end
            faults.append(error)

    def post(rng: random.Random) -> None:
        Ledger(db.engine).post_lines(lines(rng, org_id, keys, 8))

    def edit(rng: random.Random) -> None:
        retag(rng.choice(keys), rng.sample(TAGS, rng.randrange(len(TAGS))))

    threads = [threading.Thread(target=repeat, args=told) for told in enumerate((post, post, edit, edit))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert differences(db.engine) == []
    assert by(org_id, "tag")


def test_what_a_key_used_leaves_its_tags_with_it(app: Flask, org_id: str) -> None:
    (key_id,) = make_keys(app, None, 1)
    retag(key_id, ["a"])
    Ledger(db.engine).post_lines(lines(random.Random(0), org_id, [key_id], 3))
    assert set(by(org_id, "tag")) == {"a"}
    with writing() as session:
        session.execute(text("DELETE FROM key_secrets"))
        session.execute(delete(ProxyKey).where(ProxyKey.id == key_id))
    assert set(by(org_id, "tag")) == {""}
    assert differences(db.engine) == []


def test_by_api_and_in_the_order_of_cost(made: tuple[Flask, BootstrapReport], app: Flask, org_id: str) -> None:
    api = api_of(made)
    key_id = api.create(tags=["a", "b"])["id"]
    Ledger(db.engine).post_lines(lines(random.Random(1), org_id, [key_id], 4))
    assert list(by(org_id, "tag")) == ["b", "a"]
    assert api("PATCH", f"/v1/keys/{key_id}", {"tags": ["b"]}).status_code == 200
    data = api("GET", "/v1/usage?group_by=tag&from=2026-11-01").get_json()["data"]
    assert [(line["tag"], line["requests"]) for line in data] == [("b", 4)]


# SQLAlchemy cannot read an index of an expression back from SQLite, and says so.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index ix_proxy_keys_org_id_name")
def test_what_was_used_before_is_added_up_once(empty: Flask) -> None:
    """By the change of tables; on the way back keys are found by their tags as before."""
    directory = empty.extensions["migrate"].directory
    sums = {"requests": 2, "input_tokens": 3, "output_tokens": 1, "cost_nanos": 7}
    with empty.app_context():
        flask_migrate.upgrade(directory, revision="0030")
        with writing() as session:
            session.add(Organization(id="org_1", name="o", created_at=datetime(2026, 11, 24, tzinfo=UTC)))
            session.flush()
            for key_id, tags in {"key_1": ["a", "b"], "key_2": ["b"], "key_3": []}.items():
                session.add(
                    ProxyKey(id=key_id, org_id="org_1", name="k", prefix="p", tags=tags, created_by="x",
                             created_at=datetime(2026, 11, 24, tzinfo=UTC))
                )  # fmt: skip
                of_key: dict[str, Any] = {"key_id": key_id, "org_id": "org_1", "day": DAYS[0], **sums}
                session.execute(insert(LabelUsage), [{**of_key, "label": "run"}])
                for model in ("m", "n"):
                    session.execute(insert(UsageDaily), [{**of_key, "provider": "openai", "model": model}])
        for _ in range(2):
            flask_migrate.upgrade(directory)
            assert by("org_1", "tag") == {"b": (8, 28, 0), "a": (4, 14, 0), "": (4, 14, 0)}
            assert by("org_1", "label") == {"run": (6, 21, 0), "": (6, 21, 0)}
            assert differences(db.engine) == []
            retag("key_3", ["a"])
            assert by("org_1", "tag") == {"b": (8, 28, 0), "a": (8, 28, 0)}
            flask_migrate.downgrade(directory, revision="0030")
            retag("key_3", ["b", "c"])
            with db.engine.connect() as connection:
                found = connection.execute(text("SELECT tag FROM key_tags WHERE key_id = 'key_3' ORDER BY tag"))
                assert found.scalars().all() == ["b", "c"]
            retag("key_3", [])


def test_sums_of_labels_only_rise(app: Flask, org_id: str) -> None:
    Ledger(db.engine).post_lines(lines(random.Random(2), org_id, make_keys(app, None, 1), 20))
    table, sqlite = "organization_labels", db.engine.dialect.name == "sqlite"
    counts = ("requests", "input_tokens", "output_tokens", "cost_nanos", *USAGE_CLASSES)
    forbidden = (
        *(f"UPDATE {table} SET {name} = {name} - 1" for name in counts),
        *(f"UPDATE {table} SET {name} = 'x'" for name in ("org_id", "label")),
        f"UPDATE {table} SET day = '2026-11-25'",
        f"DELETE FROM {table}",
        f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}" if sqlite else f"TRUNCATE {table}",
    )
    for change in forbidden:
        with pytest.raises(DBAPIError, match="only rises"), writing() as session:
            session.execute(text(change))
    assert differences(db.engine) == []


def test_verification_names_what_is_wrong(app: Flask, org_id: str) -> None:
    keys = make_keys(app, None, 2)
    write(app, [row(key, DAYS[1]) for key in keys])
    retag(keys[0], ["a"])
    with writing() as session:
        sums = {"requests": 1, "input_tokens": 1, "output_tokens": 1, "cost_nanos": 1}
        session.add(LabelUsage(key_id=keys[0], org_id="org_1", day=DAYS[1], label="run", **sums))
    assert differences(db.engine) == []
    forge(app, "UPDATE tag_usage SET requests = requests + 1 WHERE tag = 'a'")
    forge(app, "DELETE FROM tag_usage WHERE tag = ''")
    forge(app, "UPDATE organization_labels SET cost_nanos = cost_nanos + 3")
    assert differences(db.engine) == [
        "sum of organisation org_1 on 2026-11-23 under the label 'run': cost_nanos is 4, should be 1",
        "sum of organisation org_1 on 2026-11-23 for keys with any tag: requests is missing, should be 1",
        "sum of organisation org_1 on 2026-11-23 for keys with the tag 'a': requests is 2, should be 1",
    ]
    found = {one["kind"]: one for one in verify(app)[1]["differences"]}
    assert (found["tag"]["tag"], found["organization_label"]["label"]) == ("a", "run")
    with writing() as session:
        session.add(TagUsage(org_id="org_1", day=DAYS[2], tag="z", **dict.fromkeys(("requests", *sums), 0)))
    assert len(differences(db.engine)) == 3, "what is left of a tag that no key has is none"

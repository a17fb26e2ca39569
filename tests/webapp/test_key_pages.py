"""Pages of keys however they are found: few looked up, many walked through. On both databases."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from dashboard_kit import environment
from databases_kit import api_of, leaving_nothing
from flask import Flask
from key_lists_kit import NONE_ARE_FEW, NOW, WAYS, Fact, expected, make_keys, query, walk
from plans_kit import plans_of
from sqlalchemy import delete, func, select, text

from shared.config import Settings
from shared.models import KeyNearLimit, KeySearch, KeySpend, ProxyKey, UnchargedKey
from shared.periods import FIRST_DAY
from webapp.bootstrap import BootstrapReport, bootstrap
from webapp.db import db, writing
from webapp.queries import key_candidates, key_pages
from webapp.queries.key_pages import count_up_to, find_page
from webapp.queries.key_search import found_by_trigrams
from webapp.schemas.lists import cursor_of

Made = tuple[Flask, BootstrapReport]

SORTS = [sign + name for name in ("created_at", "name", "last_used", "expires_at", "spend") for sign in ("", "-")]
FILTERS = [
    "", "status=active", "status=revoked", "status=paused", "status=expired", "status=paused,expired", "status=active,paused",
    "status=active,paused,expired", "status=revoked,active", "q=alpha", "q=A", "q=claude-", "q=same", "provider=openai",
    "created_by=a@example.com", "created_by=nobody", "has_limit=true", "has_limit=false", "has_limit=true&status=active",
    "dormant=true", "dormant=true&status=revoked", "attention=true", "attention=true&has_limit=true&provider=gemini",
    "near_limit=true", "expiring=true", "refused=true", "refused=true&near_limit=true", "expiring=true&status=paused",
    "status=active&q=beta&created_by=b@example.com",
]  # fmt: skip


@pytest.fixture
def keys(made: Made) -> list[Fact]:
    return make_keys(made[0], made[1].org_id, 70)


def test_it_works(made: Made, keys: list[Fact], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every filter, every order, every way: the same keys, each once."""
    app, report = made
    with app.app_context():
        for turn, (few, scanned) in enumerate(WAYS):
            monkeypatch.setattr(key_candidates, "FEW", few)
            monkeypatch.setattr(key_pages, "SCANNED", scanned)
            for number, wanted in enumerate(FILTERS):
                for sort in SORTS if not wanted else (SORTS[(number + 3 * turn) % 10],):
                    asked = f"{wanted}&sort={sort}".removeprefix("&")
                    assert walk(report.org_id, asked, (7, 40)[number % 2]) == expected(keys, query(asked)), asked


def test_counts(made: Made, keys: list[Fact], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are exact or, where that would take long, said to be more than somebody counts; of one's own keys alone."""
    app, report = made
    with app.app_context():
        for few, scanned in WAYS:
            monkeypatch.setattr(key_candidates, "FEW", few)
            monkeypatch.setattr(key_pages, "SCANNED", scanned)
            for number, wanted in enumerate(FILTERS):
                counted = count_up_to(report.org_id, query(wanted), NOW, 1_001)
                assert counted in {len(expected(keys, query(wanted))), 1_001 if scanned == 9 else -1}, wanted
                assert (
                    find_page("org_other", query(f"{wanted}&sort={SORTS[number % 10]}".removeprefix("&")), NOW).rows
                    == []
                )


def test_a_short_page_says_that_more_follow(made: Made, keys: list[Fact], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_candidates, "FEW", NONE_ARE_FEW)
    monkeypatch.setattr(key_pages, "SCANNED", 5)
    monkeypatch.setattr(key_pages, "WALKS", 2)
    api = api_of(made)
    asked = "/v1/keys?q=no+such+name"
    for _ in range(5):  # of twice five keys each
        page = api("GET", asked).get_json()
        assert (page["data"], page["has_more"]) == ([], True)
        asked = f"/v1/keys?q=no+such+name&cursor={page['next_cursor']}"
    monkeypatch.setattr(key_pages, "SCANNED", 20_000)
    page = api("GET", asked).get_json()
    assert (page["data"], page["has_more"], page["next_cursor"]) == ([], False, None)


def test_searches_follow_edits(made: Made) -> None:
    """What is searched is what the key is called now; of texts too short for trigrams, and of none that has any, too."""
    api = api_of(made)
    created = api.create(name="Größe 100%_a", allowed_models=["gpt-4o*"])

    def found(text: str) -> bool:
        data = api("GET", "/v1/keys", query_string={"q": text}).get_json()["data"]
        return created["id"] in [key["id"] for key in data]

    for wanted in ("größe", "grö", "100%_A", "%_a", "gpt-4O*", created["prefix"], created["key"], "ö"):
        assert found(wanted), wanted
    for wanted in ("100%%", "xgröße", "___", '"""', "NEAR(a b)", "name:größe", "gpt-4o*x", "---"):
        assert not found(wanted), wanted
    api("PATCH", f"/v1/keys/{created['id']}", {"name": "renamed", "allowed_models": ["claude-*"]})
    assert [found(wanted) for wanted in ("größe", "gpt-4o", "renam", "claude")] == [False, False, True, True]
    with made[0].app_context():
        kept = db.session.scalar(select(KeySearch.text).where(KeySearch.key_id == created["id"]))
        assert kept == f'renamed\n{created["prefix"]}\n["claude-*"]'


def test_a_database_without_trigrams_is_searched_as_well(made: Made, keys: list[Fact]) -> None:
    app, report = made
    with app.app_context():
        sqlite = db.engine.dialect.name == "sqlite"
        assert found_by_trigrams("alpha", 10) is not None
        assert found_by_trigrams("al", 10) is None
        with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
            if sqlite:
                for when in ("insert", "update", "delete"):
                    connection.execute(text(f"DROP TRIGGER key_search_trigrams_{when}"))
            connection.execute(
                text("DROP TABLE key_search_trigrams" if sqlite else "DROP INDEX ix_key_search_trigrams")
            )
        db.session.rollback()
        assert found_by_trigrams("alpha", 10) is None
        assert walk(report.org_id, "q=alpha", 7) == expected(keys, query("q=alpha"))


def test_who_may_not_have_the_extension_upgrades_all_the_same(postgres: str, tmp_path: Path) -> None:
    """And an administrator makes up for it later, in the words of docs/deploy.md."""
    with psycopg.connect(postgres, autocommit=True) as owner:
        owner.execute("CREATE ROLE humble LOGIN")
        owner.execute("GRANT CREATE, USAGE ON SCHEMA public TO humble")
        environ = environment(tmp_path / "made") | {"DATABASE_URL": postgres.replace("router@", "humble@")}
        report = bootstrap(Settings.from_env(environ))
        try:
            with leaving_nothing(Settings.from_env(environ | {"DATABASE_URL": postgres})) as app, app.app_context():
                facts = make_keys(app, report.org_id, 40)
                assert found_by_trigrams("alpha", 10) is None
                assert walk(report.org_id, "q=alpha", 7) == expected(facts, query("q=alpha"))
                page = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
                (told,) = re.findall(r"```sql\n(CREATE EXTENSION.*?)```", page, re.DOTALL)
                owner.execute(told)
                db.session.rollback()
                assert found_by_trigrams("alpha", 10) is not None
                assert walk(report.org_id, "q=alpha", 7) == expected(facts, query("q=alpha"))
                db.session.rollback()
        finally:
            owner.execute("DROP OWNED BY humble")
            owner.execute("DROP ROLE humble")


def test_a_walk_goes_along_the_index_of_its_order(app: Flask, org_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite, whose plans do not depend on how many keys there are: nothing is sorted."""
    make_keys(app, org_id, 120)
    monkeypatch.setattr(key_candidates, "FEW", NONE_ARE_FEW)
    monkeypatch.setattr(key_pages, "SCANNED", 30)
    with app.app_context():
        for sort in SORTS:
            for wanted in (
                "",
                "provider=openai",
                "status=active,paused,expired",
                "has_limit=true",
                "created_by=a@example.com",
            ):
                asked = query(f"{wanted}&sort={sort}&limit=2")
                for _ in range(3):
                    page, plans = plans_of(partial(find_page, org_id, asked, NOW), "ORDER BY")
                    assert plans
                    assert not [plan for plan in plans if "TEMP B-TREE" in plan or "SCAN proxy_keys" in plan], plans
                    place = (page.rows[1][1], page.rows[1][0].id) if len(page.rows) > 2 else page.ended_at
                    assert place is not None
                    asked = query(f"{wanted}&sort={sort}&limit=2&cursor={cursor_of(asked.sort, *place)}")


def test_with_and_without_a_limit_are_found_in_their_indexes(made: Made, keys: list[Fact]) -> None:
    """Word for word as these have them, or a database goes through all keys. PostgreSQL does with so few, if it may."""
    assert {fact.has_limit for fact in keys} == {True, False}
    app, report = made
    org_id = report.org_id
    with app.app_context():
        for wanted, index in (("true", "ix_proxy_keys_with_limit"), ("false", "ix_proxy_keys_without_limit")):
            asked = query(f"has_limit={wanted}&status=active,paused,expired")
            if db.engine.dialect.name == "postgresql":
                (found, *_) = key_candidates.narrowings(org_id, asked, NOW)
                db.session.execute(text("SET LOCAL enable_seqscan = off"))
                told = str(found.ids().compile(db.engine, compile_kwargs={"literal_binds": True}))
                plans = [str(db.session.execute(text(f"EXPLAIN {told}")).all())]
                db.session.rollback()
            else:
                _, plans = plans_of(partial(find_page, org_id, asked, NOW), "json_array_length")
            assert any(index in plan for plan in plans), plans


def test_few_are_looked_up_by_their_ids(app: Flask, org_id: str) -> None:
    make_keys(app, org_id, 120)
    with app.app_context():
        for sort in SORTS:
            for wanted in ("created_by=a@example.com", "status=paused", "attention=true", "q=alpha"):
                asked = query(f"{wanted}&sort={sort}&limit=2")
                _, plans = plans_of(partial(find_page, org_id, asked, NOW), "proxy_keys.name")
                assert plans
                for plan in plans:
                    assert "SEARCH proxy_keys USING INDEX sqlite_autoindex_proxy_keys_1 (id=?)" in plan, plan


def test_what_lists_are_found_by_is_kept_beside_the_keys(made: Made, keys: list[Fact]) -> None:
    app, _ = made
    with app.app_context():
        assert set(db.session.scalars(select(UnchargedKey.key_id))) == {
            fact.key["id"] for fact in keys if fact.spent_nanos is None
        }
        assert set(db.session.scalars(select(KeySearch.key_id))) == {fact.key["id"] for fact in keys}
        near = {fact.key["id"] for fact in keys if fact.near_own_limit}
        assert near == set(db.session.scalars(select(KeyNearLimit.key_id)))
        with writing() as session:
            session.execute(delete(ProxyKey))
        for table in (UnchargedKey, KeySearch, KeyNearLimit):
            assert db.session.scalar(select(func.count()).select_from(table)) == 0


def test_who_is_near_a_limit_follows_what_is_spent_and_what_the_limit_is(made: Made) -> None:
    app, _ = made
    api = api_of(made)
    today = datetime.now(UTC).date()
    key_id = api.create(spend_limit_usd="0.0000001", spend_reset="weekly")["id"]
    path = f"/v1/keys/{key_id}"

    def marked() -> list[date]:
        with app.app_context():
            return list(db.session.scalars(select(KeyNearLimit.day).where(KeyNearLimit.key_id == key_id)))

    def spend(nanos: int, day: date) -> None:
        with app.app_context(), writing() as session:
            for place in (FIRST_DAY, day):
                row = session.get(KeySpend, (key_id, place))
                if row is None:
                    row = KeySpend(key_id=key_id, day=place, generation=0, base_nanos=0, total_nanos=0)
                    session.add(row)
                row.total_nanos += nanos

    spend(70, today - timedelta(days=60))
    spend(79, today - timedelta(days=1))
    assert marked() == []
    spend(1, today)
    assert marked() == [today]
    assert [api("PATCH", path, {"spend_limit_usd": "1"}).status_code, marked()] == [200, []]
    for change, day in (
        ({"spend_limit_usd": "0.0000001"}, [today]),
        ({"spend_reset": "daily", "spend_limit_usd": "0.00000018"}, []),
        ({"spend_reset": "never"}, [date.max]),
        ({"spend_limit_usd": None}, []),
        ({"spend_limit_usd": "0", "spend_reset": "daily"}, [date.max]),
    ):
        assert [api("PATCH", path, change).status_code, marked()] == [200, day], change

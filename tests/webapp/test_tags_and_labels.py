"""Tags, owners and notes of keys; usage by tag and by label; lists that find them. On both databases where SQL differs."""

import csv
import io
from datetime import timedelta
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from dashboard_kit import Api, Clock, field_errors
from databases_kit import api_of
from flask import Flask
from flask.testing import FlaskClient
from forms_kit import submit
from key_rows_kit import posted, request_of
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from usage_kit import TODAY, use
from verify_kit import make_keys, verify, write
from verify_kit import row as ledger_row

from shared import keys
from shared.models import USAGE_CLASSES, KeyTag, LabelUsage, ProxyKey
from webapp.bootstrap import BootstrapReport
from webapp.db import db, writing

ABOUT = {"tags": [" Search ", "team a", "search"], "owner_email": " Ada@Example.com ", "note": "One\r\ntwo  "}
KEPT = {"tags": ["search", "team a"], "owner_email": "ada@example.com", "note": "One\ntwo"}


def label_used(org_id: str, key_id: str, label: str, nanos: int, requests: int = 1) -> None:
    """As the ledger writer posts it."""
    counts = {"requests": requests, "input_tokens": 10, "output_tokens": 2, "cost_nanos": nanos}
    with writing() as session:
        session.add(LabelUsage(key_id=key_id, org_id=org_id, day=TODAY, label=label, **counts))


def by(api: Api, group: str, path: str = "/v1/usage") -> dict[str, tuple[int, str]]:
    answer = api("GET", f"{path}?group_by={group}&from=2026-11-01&to=2026-11-30")
    assert answer.status_code == 200, answer.text
    return {line[group]: (line["requests"], line["cost_usd"]) for line in answer.get_json()["data"]}


def names(api: Api, **query: str) -> set[str]:
    answer = api("GET", "/v1/keys", query_string=query)
    assert answer.status_code == 200, answer.text
    return {key["name"] for key in answer.get_json()["data"]}


def test_it_works(api: Api, member: FlaskClient) -> None:
    created = api.create(**ABOUT)
    assert {name: created[name] for name in KEPT} == KEPT
    url = f"/v1/keys/{created['id']}"
    assert api("PATCH", url, {"note": None, "tags": ["b"]}).get_json()["tags"] == ["b"]
    read = api("GET", url).get_json()
    assert (read["note"], read["tags"], read["owner_email"]) == (None, ["b"], "ada@example.com")
    event = api("GET", f"/v1/audit?target={created['id']}&action=key.update").get_json()["data"][0]
    assert event["before"] == {"note": KEPT["note"], "tags": KEPT["tags"]}
    assert event["after"] == {"note": None, "tags": ["b"]}
    page = member.get(f"/keys/{created['id']}").text
    assert "ada@example.com" in page
    assert '<code class="text-break">b</code>' in page


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tags", "search", "list"), ("tags", [7], "list"), ("tags", [""], "empty"), ("tags", ["x" * 41], "40 characters"),
        ("tags", ["a,b"], "not a tag"), ("tags", ['a"b'], "not a tag"), ("tags", ["a  b"], "not a tag"),
        ("tags", [f"t{number}" for number in range(11)], "at most 10"), ("tags", ["a\0b"], "not a tag"),
        ("owner_email", "ada", "email address"), ("owner_email", "", "email address"), ("owner_email", "a@b c", "email address"),
        ("owner_email", "x" * 250 + "@example.com", "email address"), ("owner_email", 7, "text"),
        ("note", "", "empty"), ("note", "x" * 1001, "1,000"), ("note", "a\0b", "control"), ("note", [], "text"),
        *((field, value, "secret") for field, value in (
            ("tags", ["sk-ant-" + "a1" * 15]), ("owner_email", "sk-ant-" + "a1" * 15 + "@example.com"),
            ("note", "It is " + keys.mint(keys.PROXY_TAG).raw),
        )),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(api: Api, field: str, value: Any, message: str) -> None:
    assert message in field_errors(api("POST", "/v1/keys", {"name": "x", field: value}))[field]


def test_forms_take_and_show_them(app: Flask, api: Api, member: FlaskClient) -> None:
    said = {"tags": "Search, team a, , search", "owner_email": "Ada@Example.com ", "note": "One\r\ntwo"}
    assert submit(member, "/keys/new", {"name": "by form", **said}).status_code == 201
    (key,) = api("GET", "/v1/keys?tag=search").get_json()["data"]
    assert {name: key[name] for name in KEPT} == KEPT
    form = member.get(f"/keys/{key['id']}/edit").text
    assert 'value="search, team a"' in form
    assert "One\ntwo</textarea>" in form
    edited = submit(
        member,
        f"/keys/{key['id']}/edit",
        name="by form",
        expires="keep",
        spend_reset="never",
        tags="",
        owner_email="",
        note="x",
    )
    assert edited.status_code == 303, edited.text
    key = api("GET", f"/v1/keys/{key['id']}").get_json()
    assert (key["tags"], key["owner_email"], key["note"]) == ([], None, "x")
    wrong = submit(member, "/keys/new", name="y", tags='a"b', owner_email="nobody", note="x" * 1001)
    assert wrong.status_code == 422
    for field in ("tags", "owner_email", "note"):
        assert f'id="key-{field}-error"' in wrong.text


def test_lists_find_keys_by_them(made: tuple[Flask, BootstrapReport]) -> None:
    api = api_of(made)
    api.create(name="one", tags=["search-eu", "größe"], owner_email="ada@example.com")
    api.create(name="two", tags=["search-us"], owner_email="bob@example.com")
    api.create(name="three", note="search")
    assert names(api, tag="search-eu") == names(api, tag=" Search-EU ") == {"one"}
    assert names(api, tag="search") == set()
    assert names(api, q="search") == {"one", "two"}
    assert names(api, q="GRÖ") == {"one"}
    assert names(api, q="ada@") == {"one"}
    assert names(api, q="example.com") == set()
    assert names(api, q="se") == {"one", "two"}
    assert names(api, q="search", status="paused") == set()
    assert api("GET", "/v1/keys?tag=a,b").status_code == 422


def test_tags_are_found_as_they_are_now(made: tuple[Flask, BootstrapReport]) -> None:
    app, api = made[0], api_of(made)
    first, second = api.create(tags=["a", "b"])["id"], api.create(tags=["b"])["id"]
    api("PATCH", f"/v1/keys/{first}", {"tags": ["b", "c"]})
    with app.app_context():
        found = db.session.execute(select(KeyTag.tag, KeyTag.key_id).order_by(KeyTag.tag, KeyTag.key_id)).all()
        assert [tuple(row) for row in found] == [("b", first), ("b", second), ("c", first)]
        with writing() as session:
            session.execute(text("UPDATE proxy_keys SET tags = '[]'"))
        assert db.session.scalars(select(KeyTag)).all() == []


def test_usage_by_tag_and_by_label(made: tuple[Flask, BootstrapReport]) -> None:
    (app, report), api = made, api_of(made)
    ids = [api.create(tags=tags)["id"] for tags in (["a", "b"], ["b"], [])]
    with app.app_context():
        for number, key_id in enumerate(ids, start=1):
            use(report.org_id, key_id, number * 10**9, requests=number)
            use(report.org_id, key_id, 10**9, TODAY - timedelta(days=60))  # of other days
        label_used(report.org_id, ids[0], "run", 4 * 10**8)
        label_used(report.org_id, ids[1], "run", 5 * 10**8)
        label_used(report.org_id, ids[1], "größe", 7 * 10**8)
        use("org_other", "key_other", 10**15)
        label_used("org_other", "key_other", "theirs", 10**15)
    assert by(api, "tag") == {"a": (1, "1.00"), "b": (3, "3.00"), "": (3, "3.00")}
    assert by(api, "label") == {"run": (2, "0.90"), "größe": (1, "0.70"), "": (3, "4.40")}
    assert by(api, "tag", f"/v1/keys/{ids[0]}/usage") == {"a": (1, "1.00"), "b": (1, "1.00")}
    assert by(api, "label", f"/v1/keys/{ids[1]}/usage") == {"größe": (1, "0.70"), "run": (1, "0.50"), "": (0, "0.80")}
    total = api("GET", "/v1/usage?group_by=tag&from=2026-11-01").get_json()["total"]
    assert (total["requests"], total["cost_usd"]) == (6, "6.00")
    table = api("GET", "/v1/usage?group_by=label&format=csv&from=2026-11-01").text
    assert [line[0] for line in csv.reader(io.StringIO(table))] == ["label", "run", "größe", ""]


def test_by_tag_no_sums_of_keys_are_read(made: tuple[Flask, BootstrapReport]) -> None:
    """Of which there may be millions. The dearest tag is first."""
    (app, report), api = made, api_of(made)
    ids = [api.create(tags=tags)["id"] for tags in (["cheap", "a", "b"], ["dear"], ["a", "b"])]
    with app.app_context():
        for key_id, nanos in zip(ids, (10**9, 5 * 10**9, 2 * 10**9), strict=True):
            for model in ("gpt-4o", "gpt-4o-mini"):
                use(report.org_id, key_id, nanos, model=model, cache_read_tokens=7)
        seen: list[str] = []
        sa.event.listen(db.engine, "before_cursor_execute", lambda *told: seen.append(told[2]))
    assert list(by(api, "tag").items()) == [
        ("dear", (2, "10.00")), ("b", (4, "6.00")), ("a", (4, "6.00")), ("cheap", (2, "2.00")),
    ]  # fmt: skip
    assert not any(table in statement for statement in seen for table in ("usage_daily", "key_spend", "key_tags"))
    data = api("GET", "/v1/usage?group_by=tag&from=2026-11-01").get_json()["data"]
    assert [line["tokens"]["cache_read_tokens"] for line in data] == [14, 28, 28, 14]


def test_pages_and_files_tell_it(app: Flask, org_id: str, api: Api, member: FlaskClient) -> None:
    key_id = api.create(tags=["a"])["id"]
    with app.app_context():
        use(org_id, key_id, 3 * 10**9, requests=3)
        label_used(org_id, key_id, "=cmd()", 10**9)
    page = member.get("/usage?group_by=label").text
    assert "=cmd()" in page
    assert "label=%3Dcmd%28%29" in page
    assert "Requests without a label" in page
    assert '<data value="2.00"' in page
    page = member.get("/usage?group_by=tag").text
    assert "/keys?tag=a&amp;status=all" in page
    assert "Keys without a tag" not in page
    table = list(csv.reader(io.StringIO(member.get("/usage.csv?group_by=label").text)))
    assert [(line[0], line[-1]) for line in table] == [("label", "cost_usd"), ("'=cmd()", "1.00"), ("", "2.00")]
    assert member.get("/usage.json?group_by=tag").get_json()["data"][0]["tag"] == "a"
    assert member.get("/keys?tag=a").text.count('id="row-') == 1
    assert member.get("/keys?tag=b").text.count('id="row-') == 0


def test_requests_are_found_by_their_label(app: Flask, api: Api, member: FlaskClient, org_id: str) -> None:
    key_id = api.create()["id"]
    posted(
        app, *(request_of(key_id, number, org_id=org_id, label=label) for number, label in enumerate(("run 7", None)))
    )
    for path in ("/v1/requests", f"/v1/keys/{key_id}/requests"):
        assert sorted(str(one["label"]) for one in api("GET", path).get_json()["data"]) == ["None", "run 7"]
    (found,) = api("GET", "/v1/requests?label=run 7").get_json()["data"]
    assert (found["id"], found["label"]) == ("req_0000", "run 7")
    assert api("GET", "/v1/requests?label=run").get_json()["data"] == []
    page = member.get("/requests?label=run 7").text
    assert "req_0000" in page
    assert "req_0001" not in page
    assert 'href="/requests?label=run+7"' in member.get("/requests/req_0000").text


def test_sums_by_label_only_rise(made: tuple[Flask, BootstrapReport]) -> None:
    app, report = made
    with app.app_context():
        label_used(report.org_id, "key_x", "run", 5, requests=2)
        sqlite = db.engine.dialect.name == "sqlite"
        more = "INSERT OR REPLACE INTO label_usage SELECT * FROM label_usage" if sqlite else "TRUNCATE label_usage"
        counts = ("requests", "input_tokens", "output_tokens", "cost_nanos", *USAGE_CLASSES)
        moves = (*(f"{name} = 'x'" for name in ("key_id", "label", "org_id")), "day = '2026-11-25'")
        for change in (*(f"{name} = {name} - 1" for name in counts), *moves):
            with pytest.raises(DBAPIError, match="only rises"), writing() as session:
                session.execute(text(f"UPDATE label_usage SET {change}"))
        for change in ("DELETE FROM label_usage", more):
            with pytest.raises(DBAPIError, match="only rises"), writing() as session:
                session.execute(text(change))
        with writing() as session:
            session.execute(text("UPDATE label_usage SET requests = requests + 1, cost_nanos = cost_nanos + 1"))


def test_verification_names_a_sum_by_label_that_is_wrong(app: Flask, clock: Clock) -> None:
    (key_id,) = make_keys(app, None, 1)
    rows = [ledger_row(key_id, label=label) for label in ("run", "run", None)]
    write(app, rows)
    status, report = verify(app)
    assert (status, report["difference_count"]) == (1, 1)
    (missing,) = report["differences"]
    assert (missing["kind"], missing["label"], missing["expected"], missing["found"]) == ("label", "run", 2, None)
    with app.app_context(), writing() as session:
        sums = {"requests": 2, "input_tokens": 2006, "output_tokens": 14, "cost_nanos": 2 * rows[0]["cost_nanos"] + 1}
        session.add(LabelUsage(key_id=key_id, org_id="org_1", day=rows[0]["day"], label="run", **sums))
    (wrong,) = verify(app)[1]["differences"]
    assert (wrong["kind"], wrong["field"], wrong["found"] - wrong["expected"]) == ("label", "cost_nanos", 1)


# SQLAlchemy cannot read an index of an expression back from SQLite, and says so.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index ix_proxy_keys_org_id_name")
def test_keys_of_the_release_before_have_none(empty: Flask) -> None:
    directory = empty.extensions["migrate"].directory
    at = sa.func.current_timestamp()
    with empty.app_context():
        flask_migrate.upgrade(directory, revision="0016")
        older = sa.MetaData()
        with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
            older.reflect(connection, only=["organizations", "proxy_keys"])
            connection.execute(older.tables["organizations"].insert().values(id="org_1", name="o", created_at=at))
            row: dict[str, Any] = {"id": "key_1", "org_id": "org_1", "name": "k", "prefix": "p", "created_by": "x"}
            row |= {f"allowed_{what}": [] for what in ("providers", "models", "ips")}
            row |= {"spend_reset": "never", "created_at": at, "version": 1}
            connection.execute(older.tables["proxy_keys"].insert().values(row))
        flask_migrate.upgrade(directory)
        with writing() as session:  # the release before goes on beside this one
            session.execute(older.tables["proxy_keys"].insert().values({**row, "id": "key_2"}))
        found = db.session.scalars(select(ProxyKey).order_by(ProxyKey.id)).all()
        assert [(key.id, key.tags, key.owner_email, key.note) for key in found] == [
            ("key_1", [], None, None),
            ("key_2", [], None, None),
        ]

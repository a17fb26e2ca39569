"""Lists, usage and rotation on both databases; PostgreSQL runs when its programs are on the machine."""

from datetime import UTC, date, datetime
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from databases_kit import api_of
from flask import Flask
from sqlalchemy import func, select

from proxyd.accounting.ledger import Ledger
from proxyd.accounting.ledger_rows import Line
from proxyd.accounting.records import Attempt, Settlement
from shared.models import OrganizationUsage, ProxyKey, UsageDaily
from webapp.bootstrap import BootstrapReport
from webapp.db import db
from webapp.views.keys import secrets_of, view_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SUMS = ("requests", "input_tokens", "output_tokens", "cost_nanos", "cache_read_tokens", "output_reasoning_tokens")


def used(report: BootstrapReport, number: int, key_id: str, model: str, cost_nanos: int, **usage: int) -> Line:
    """A request as the ledger takes it."""
    attempt = Attempt(
        id=f"req_{number:08d}", org_id=report.org_id, key_id=key_id, provider="openai", endpoint="/v1/chat/completions",
        requested_model=model, streamed=False, bound_nanos=1_000, held_nanos=1_000, day=NOON.toordinal(), second=100,
        admitted_at=NOON.timestamp(), client_ip=None,
    )  # fmt: skip
    settlement = Settlement(
        status=200, outcome="ok", flags=(), usage={"input_tokens": 10, "output_tokens": 5, **usage}, served_model=model,
        service_tier=None, price=None, cost_nanos=cost_nanos, duration_ms=1, provider_request_id=None,
    )  # fmt: skip
    return attempt, settlement


def test_it_works(made: tuple[Flask, BootstrapReport]) -> None:
    """What an organisation used is at each moment what its keys used, however the ledger posted it."""
    app, report = made
    api = api_of(made)
    one, two = (api.create(name=name)["id"] for name in ("one", "two"))
    with app.app_context():
        ledger = Ledger(db.engine)
        for first in (0, 10, 20):
            ledger.post_lines(
                [
                    used(report, first + 1, one, "gpt-4o", 100, cache_read_tokens=3),
                    used(report, first + 2, two, "gpt-4o", 20, output_reasoning_tokens=2),
                    used(report, first + 3, two, f"model {first}", 7),
                    used(report, first + 4, one, "gpt-4o", 1, cache_read_tokens=4),
                ]
            )
            place = (UsageDaily.org_id, UsageDaily.day, UsageDaily.provider, UsageDaily.model)
            sums = select(*place, *(func.sum(getattr(UsageDaily, name)) for name in SUMS)).group_by(*place)
            kept = select(*(getattr(OrganizationUsage, name) for name in ("org_id", "day", "provider", "model", *SUMS)))
            with db.engine.connect() as connection:
                assert sorted(connection.execute(kept).all()) == sorted(map(tuple, connection.execute(sums)))
    document = api("GET", "/v1/usage?group_by=model&from=2026-11-24&to=2026-11-24").get_json()
    assert (document["data"][0]["model"], document["data"][0]["requests"]) == ("gpt-4o", 9)
    assert document["data"][0]["tokens"] == {"cache_read_tokens": 21, "output_reasoning_tokens": 6}
    assert document["total"]["cost_usd"] == "0.000000384"
    dearest = api("GET", "/v1/usage?group_by=key&from=2026-11-24&to=2026-11-24").get_json()
    assert [line["key"] for line in dearest["data"]] == [one, two]
    assert dearest["total"] == document["total"]


@pytest.mark.parametrize("sort", ["spend", "last_used", "expires_at", "name", "created_at"])
def test_lists(made: tuple[Flask, BootstrapReport], sort: str) -> None:
    app, report = made
    api = api_of(made)
    ids = [api.create(name=f"k{n}", expires_at=f"2090-01-0{n}T00:00:00Z" if n % 2 else None)["id"] for n in range(5)]
    with app.app_context():
        lines = [used(report, number, key_id, "gpt-4o", number % 3 + 1) for number, key_id in enumerate(ids[:4])]
        Ledger(db.engine).post_lines(lines)
    for sign in ("", "-"):
        whole = [key["id"] for key in api("GET", f"/v1/keys?sort={sign}{sort}").get_json()["data"]]
        joined, cursor = [], ""
        for _ in whole:
            page = api("GET", f"/v1/keys?sort={sign}{sort}&limit=1{cursor}").get_json()
            joined += [key["id"] for key in page["data"]]
            cursor = f"&cursor={page['next_cursor']}"
        assert joined == whole
        assert len(set(whole)) == 6
    for query in ("attention=true", "provider=openai&status=active,paused", "q=K1", "created_by=system&total=true"):
        response = api("GET", f"/v1/keys?{query}&sort={sort}")
        assert response.status_code == 200, response.text
    assert api("GET", "/v1/keys?q=K1").get_json()["data"][0]["name"] == "k1"


def test_rotation(made: tuple[Flask, BootstrapReport]) -> None:
    api = api_of(made)
    created = api.create()
    first = api("POST", f"/v1/keys/{created['id']}/rotate").get_json()
    assert len(first["secrets"]) == 2
    assert len(api("POST", f"/v1/keys/{created['id']}/rotate", {"grace_seconds": 0}).get_json()["secrets"]) == 1


def test_what_was_used_before_is_summed_up_once(empty: Flask) -> None:
    """Migration 0009 fills an organisation's sums from the daily sums of its keys; secrets tell their key's prefix."""
    at, directory = NOON, empty.extensions["migrate"].directory
    with empty.app_context():
        flask_migrate.upgrade(directory, revision="0006")
        older = sa.MetaData()
        with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
            older.reflect(connection)
            tables = older.tables
            connection.execute(tables["organizations"].insert().values(id="org_1", name="o", created_at=at))
            lists: dict[str, Any] = {f"allowed_{what}": [] for what in ("providers", "models", "ips")}
            key = {"id": "key_1", "org_id": "org_1", "name": "k", "prefix": "sk-proxy-a1b2", "spend_reset": "never"}
            made_at = {"created_at": at, "created_by": "x", "version": 1}
            connection.execute(tables["proxy_keys"].insert().values(**key, **lists, **made_at))
            connection.execute(tables["key_secrets"].insert().values(digest="d", key_id="key_1", created_at=at))
            for key_id, day, model, cost in (
                ("key_1", 1, "m", 5), ("key_2", 1, "m", 7), ("key_1", 2, "m", 1), ("key_1", 1, "n", 2),
            ):  # fmt: skip
                sums = {"requests": 1, "input_tokens": 2, "output_tokens": 3, "cost_nanos": cost}
                place = {"key_id": key_id, "day": date(2026, 11, day), "provider": "openai", "model": model}
                connection.execute(tables["usage_daily"].insert().values(**place, org_id="org_1", **sums))
        flask_migrate.upgrade(directory)
        found = db.session.scalars(
            select(OrganizationUsage).order_by(OrganizationUsage.day, OrganizationUsage.model)
        ).all()
        assert [(row.day.day, row.model, row.requests, row.cost_nanos, row.cache_read_tokens) for row in found] == [
            (1, "m", 2, 12, 0),
            (1, "n", 1, 2, 0),
            (2, "m", 1, 1, 0),
        ]
        view = view_of(db.session.get_one(ProxyKey, "key_1"))
        assert [secret.prefix for secret in secrets_of(view, at)] == ["sk-proxy-a1b2"]


def test_a_search_knows_capitals_of_every_script_and_no_signs_of_json(made: tuple[Flask, BootstrapReport]) -> None:
    """D4, N4: the same keys are found on either database."""
    api = api_of(made)
    for name in ("Müller-Überwachung", "ÉTÉ [a*b?c] ^é", "straße"):
        api.create(name=name, allowed_models=["gpt-4o*", "claude-*"])
    for asked, found in (
        ("überwachung", "Müller-Überwachung"),
        ("MÜLLER-ü", "Müller-Überwachung"),
        ("ü", "Müller-Überwachung"),
        ("été", "ÉTÉ [a*b?c] ^é"),
        ("E\u0301te\u0301", "ÉTÉ [a*b?c] ^é"),
        ("é [A*b?c] ^É", "ÉTÉ [a*b?c] ^é"),
        ("é [axb?c] ^é", None),
        ("é*é", None),
        ("Straße", "straße"),
    ):
        page = api("GET", "/v1/keys", query_string={"q": asked}).get_json()
        assert [key["name"] for key in page["data"]] == [found] * (found is not None), asked
    for asked in ("[]", '"', '", "', '["gpt', ", ", "u00e9", "\\"):
        assert api("GET", "/v1/keys", query_string={"q": asked}).get_json()["data"] == [], asked
    assert len(api("GET", "/v1/keys", query_string={"q": "GPT-4O*"}).get_json()["data"]) == 3

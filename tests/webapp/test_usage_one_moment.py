"""What an answer says of usage is of one moment, on both databases, although requests are posted between its reads."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from databases_kit import api_of
from flask import Flask
from forms_kit import post_login
from sqlalchemy import create_engine, event, text
from usage_kit import TODAY, use

from shared.models import LabelUsage
from webapp.bootstrap import BootstrapReport
from webapp.db import db, one_moment, writing

ASKED = "from=2026-11-01&to=2026-11-30"


@pytest.fixture
def key_id(made: tuple[Flask, BootstrapReport]) -> str:
    """A key with a tag, all of whose requests have a label."""
    app, report = made
    found = str(api_of(made).create(tags=["a"])["id"])
    with app.app_context():
        use(report.org_id, found, 10**9)
        with writing() as session:
            sums = {"requests": 1, "input_tokens": 10, "output_tokens": 2, "cost_nanos": 10**9}
            session.add(LabelUsage(key_id=found, org_id=report.org_id, day=TODAY, label="run", **sums))
    return found


@contextmanager
def posting(app: Flask) -> Iterator[list[str]]:
    """One more request is posted before each look at what was used, whole and by another connection; the looks."""
    with app.app_context():
        engine = db.engine
    ledger, looks = create_engine(engine.url), list[str]()

    def post(_: Any, __: Any, statement: str, *___: Any) -> None:
        if re.search(
            "FROM (usage_daily|organization_usage|label_usage|organization_labels|tag_usage|key_tags)", statement
        ):
            looks.append(statement)
            with ledger.begin() as connection:
                for table in ("usage_daily", "label_usage"):
                    more = "requests = requests + 1, cost_nanos = cost_nanos + 1000000000"
                    connection.execute(text(f"UPDATE {table} SET {more}"))

    event.listen(engine, "before_cursor_execute", post)
    try:
        yield looks
    finally:
        event.remove(engine, "before_cursor_execute", post)
        ledger.dispose()


def test_it_works(made: tuple[Flask, BootstrapReport], key_id: str) -> None:
    api = api_of(made)
    paths = [f"/v1/usage?group_by={group}" for group in ("label", "tag", "model", "key")]
    paths += [f"/v1/keys/{key_id}/usage?group_by={group}" for group in ("label", "tag", "model")]
    with posting(made[0]) as looks:
        for path in paths:
            before = len(looks)
            told = api("GET", f"{path}&{ASKED}").get_json()
            assert [line["requests"] for line in told["data"]] == [told["total"]["requests"]], path
            assert len(looks) > before


def test_the_page_and_its_files_too(made: tuple[Flask, BootstrapReport], key_id: str) -> None:
    member = made[0].test_client()
    assert post_login(member).status_code == 303
    with posting(made[0]):
        for group in ("label", "tag", "model", "key"):
            page = member.get(f"/usage?group_by={group}&{ASKED}").text
            table = re.search(r'<table class="keys sums">.*?</table>', page, re.DOTALL)
            assert table is not None
            line, total = re.findall(r'<data value="([^"]+)"', table[0])
            assert line == total, group
            assert "All other" not in page, group  # nor does the chart have anything beside it
            if group != "key":  # a file of all keys is read piece by piece
                told = member.get(f"/usage.json?group_by={group}&{ASKED}").get_json()
                assert [one["cost_usd"] for one in told["data"]] == [told["total"]["cost_usd"]], group


def test_a_moment_within_another_is_the_same(made: tuple[Flask, BootstrapReport], key_id: str) -> None:
    query = text("SELECT sum(requests) FROM usage_daily")
    with made[0].app_context(), posting(made[0]):
        with one_moment():
            first = db.session.scalar(query)
            with one_moment():
                assert db.session.scalar(query) == first
            assert db.session.scalar(query) == first
        assert (db.session.scalar(query) or 0) > (first or 0)

"""Long lists by time on both databases: whole, in order, and never dearer than a bounded look; PostgreSQL where it is."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from databases_kit import api_of
from flask import Flask
from plans_kit import plans_of
from sqlalchemy import event, insert
from verify_kit import row as ledger_row

from shared.ids import new_id
from shared.models import AuditEvent, Refusal, UsageRecord
from webapp.bootstrap import BootstrapReport
from webapp.db import db, writing
from webapp.queries import timeline
from webapp.queries.activity import corrections_of, find_refused, list_refused, list_sent
from webapp.queries.audit import list_audit, walk_audit
from webapp.queries.timeline import Stretch
from webapp.schemas.activity import RefusedFilter, SentFilter
from webapp.schemas.audit import AuditQuery
from webapp.views.requests import RequestView

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROWS = 400
REASONS = ("key_paused", "rate_limited", "ip_blocked", "spend_exceeded")


@pytest.fixture
def filled(made: tuple[Flask, BootstrapReport]) -> Iterator[tuple[str, list[str]]]:
    """An organisation, and ten keys that took turns, three at each moment; every fortieth went to Anthropic."""
    app, report = made
    api = api_of(made)
    keys = [api.create(name=f"key {number}")["id"] for number in range(10)]
    with app.app_context():
        with writing() as session:
            session.execute(insert(UsageRecord), [_request(report.org_id, keys, number) for number in range(ROWS)])
            session.execute(
                insert(Refusal),
                [
                    {
                        "key_id": key_id if number else f"key_other{at}", "reason": reason, "count": 1, "status": 403,
                        "org_id": report.org_id if number else "org_other", "request_id": new_id("req"),
                        "last_at": NOON + timedelta(seconds=at // 3), "sentence": "No.",
                    }
                    for at, (number, key_id, reason) in enumerate(
                        (number, key_id, reason) for number, key_id in enumerate(keys) for reason in REASONS
                    )
                ],
            )  # fmt: skip
            session.execute(
                insert(AuditEvent),
                [
                    {
                        "id": new_id("aud"), "org_id": report.org_id, "at": NOON + timedelta(seconds=number // 3),
                        "actor": f"somebody{number % 7}@example.com", "action": "key.update" if number % 9 else "price.set",
                        "target": keys[number % 10], "before": None, "after": {"number": number},
                    }
                    for number in range(ROWS)
                ],
            )  # fmt: skip
        yield report.org_id, keys


def _request(org_id: str, keys: list[str], number: int) -> dict[str, object]:
    provider = "anthropic" if number % 40 == 0 else "openai"
    at = NOON + timedelta(seconds=number // 3)
    return ledger_row(
        keys[number % 10], id=f"req_{number:05}", org_id=org_id, admitted_at=at, provider=provider, price=None, flags=[]
    )


def walked(org_id: str, key: str | None = None, **said: str) -> tuple[list[str], int]:
    """The ids of all pages, and how many pages it took."""
    found, pages, cursor = [], 0, None
    while True:
        told = {"limit": "30", **said, **({"key": key} if key else {}), **({"cursor": cursor} if cursor else {})}
        page: Stretch[RequestView] = list_sent(org_id, SentFilter.model_validate(told))
        found += [view.id for view in page.rows]
        pages += 1
        if page.place is None:
            return found, pages
        cursor = SentFilter.cursor_behind(page.place)


def test_it_works(filled: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row on one page, the newest first, also those of one moment; however little a page may look through."""
    org_id, keys = filled
    newest_first = [f"req_{number:05}" for number in reversed(range(ROWS))]
    assert walked(org_id) == (newest_first, 14)
    assert walked(org_id, keys[3])[0] == [name for name in newest_first if int(name[4:]) % 10 == 3]
    for most in (10_000, 50, 5, 1):
        monkeypatch.setattr(timeline, "MOST_LOOKED_AT", most)
        found, pages = walked(org_id, provider="anthropic")
        assert found == [name for name in newest_first if int(name[4:]) % 40 == 0]
        # Of one moment are three, and all of that moment are looked at.
        assert pages >= ROWS / (most + 3)
    monkeypatch.setattr(timeline, "MOST_LOOKED_AT", 50)
    page = list_sent(org_id, SentFilter(provider="anthropic"))
    assert page.cut_short
    assert page.total is None
    assert list_sent(org_id, SentFilter()).total == ROWS


def test_times_bound_a_list(filled: tuple[str, list[str]]) -> None:
    """From a moment on, and before another."""
    org_id, _ = filled
    span = {"from": "2026-11-24T12:00:10Z", "to": "2026-11-24T12:00:12Z"}
    assert walked(org_id, **span)[0] == [f"req_{number:05}" for number in range(35, 29, -1)]
    assert list_sent(org_id, SentFilter.model_validate(span)).total == 6


def test_refusals_are_of_the_organisation_alone(filled: tuple[str, list[str]]) -> None:
    org_id, keys = filled
    found, cursor = [], None
    while True:
        said = {"limit": "7", **({"cursor": cursor} if cursor else {})}
        page = list_refused(org_id, RefusedFilter.model_validate(said))
        found += [(view.last_at, view.key_id, view.reason) for view in page.rows]
        assert page.total == 36
        if page.place is None:
            break
        cursor = RefusedFilter.cursor_behind(page.place)
    assert found == sorted(found, reverse=True)
    assert len(found) == len(set(found)) == 36
    assert {view.key_id for view in list_refused(org_id, RefusedFilter(key=keys[4])).rows} == {keys[4]}
    assert {view.reason for view in list_refused(org_id, RefusedFilter(reason="ip_blocked")).rows} == {"ip_blocked"}


def test_the_whole_audit_log_is_walked(filled: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    org_id, _ = filled
    monkeypatch.setattr(timeline, "MOST_LOOKED_AT", 20)
    for action in ("price.set", "price."):
        numbers = [event.after["number"] for event in walk_audit(org_id, AuditQuery(action=action)) if event.after]
        assert sorted(numbers) == [number for number in range(ROWS) if number % 9 == 0]
    everything = list(walk_audit(org_id, AuditQuery(limit=3)))
    assert len({event.id for event in everything}) == len(everything) > ROWS


def prefer_indexes(connection: Any, _: object) -> None:
    """As in a table that is worth one, which a small one is not."""
    connection.autocommit = True
    connection.execute("SET enable_seqscan = off")
    connection.autocommit = False


def test_each_begins_in_an_index(filled: tuple[str, list[str]]) -> None:
    """Also the second page does, at its place."""
    org_id, keys = filled
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    if db.engine.dialect.name == "postgresql":
        db.session.rollback()
        db.engine.dispose()
        event.listen(db.engine, "connect", prefer_indexes)
    at = "2026-11-24T12:01:00+00:00"
    sent_cursor = SentFilter.cursor_behind((datetime.fromisoformat(at), "req_00100"))
    refused_cursor = RefusedFilter.cursor_behind((datetime.fromisoformat(at), "key_1", "ip_blocked"))
    for index, table, call in (
        ("ix_usage_records_org_id_admitted_at", "usage_records", lambda: list_sent(org_id, SentFilter(provider="gemini"))),
        ("ix_usage_records_key_id_admitted_at", "usage_records", lambda: list_sent(org_id, SentFilter(key=keys[0]))),
        ("ix_usage_records_org_id_admitted_at", "usage_records", lambda: list_sent(org_id, SentFilter(cursor=sent_cursor))),
        ("ix_refusals_org_id_last_at", "refusals", lambda: list_refused(org_id, RefusedFilter(cursor=refused_cursor))),
        ("ix_refusals_org_id_reason_last_at", "refusals", lambda: list_refused(org_id, RefusedFilter(reason="key_paused"))),
        ("ix_refusals_request_id", "refusals", lambda: find_refused(org_id, "req_1")),
        ("ix_usage_records_adjusts", "usage_records", lambda: corrections_of(org_id, "req_1")),
        ("ix_audit_events_org_id_actor_at", "audit_events", lambda: list_audit(org_id, AuditQuery(actor="somebody1@example.com"))),
        ("ix_audit_events_org_id_target_at", "audit_events", lambda: list_audit(org_id, AuditQuery(target=keys[0], action="price.set"))),
        ("ix_audit_events_org_id_target_at", "audit_events", lambda: list_audit(org_id, AuditQuery(target=keys[0]))),
        ("ix_audit_events_org_id_action_at", "audit_events", lambda: list_audit(org_id, AuditQuery(action="price.set"))),
        ("ix_audit_events_org_id_at", "audit_events", lambda: list_audit(org_id, AuditQuery(action="price."))),
    ):  # fmt: skip
        _, plans = plans_of(call, table)
        # Last come the rows; to count them, or to see how far many of them reach, any index will do.
        assert index in plans[-1], (index, plans)
        assert all("ix_" in plan for plan in plans), plans

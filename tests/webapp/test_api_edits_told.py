"""An edit by the management API is told to the counters before it is answered, and by the ledger writer if it cannot be."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dashboard_kit import Api
from flask import Flask
from live_counters import LiveCounters
from sqlalchemy import select

from shared.config import Settings
from shared.keys import digest
from shared.models import AuditEvent, KeySecret, PolicyOutbox
from webapp.actions import policy
from webapp.db import db


def outbox(app: Flask) -> list[str]:
    """The subjects of changes that the ledger writer will tell the counters of, in order."""
    with app.app_context():
        return list(db.session.scalars(select(PolicyOutbox.subject).order_by(PolicyOutbox.id)))


def test_each_write_tells_the_counters_and_leaves_an_audit_event(api: Api, app: Flask, live: LiveCounters) -> None:
    """And an entry in the outbox, for the ledger writer to clear. Of a new key there is nothing to tell yet."""
    key_id = api.create()["id"]
    assert (live.version(key_id), outbox(app)) == (None, [])
    api("PATCH", f"/v1/keys/{key_id}", {"name": "n", "spend_limit_usd": "3"})
    assert (live.version(key_id), outbox(app)) == (2, [key_id])
    api("DELETE", f"/v1/keys/{key_id}")
    assert (live.version(key_id), outbox(app)) == (3, [key_id] * 2)
    with app.app_context():
        query = select(AuditEvent).where(AuditEvent.target == key_id).order_by(AuditEvent.id)
        events = db.session.scalars(query).all()
    assert [event.action for event in events] == ["key.create", "key.update", "key.revoke"]
    (token,) = {event.actor for event in events}
    assert token.startswith("tok_")
    assert {event.ip for event in events} == {"127.0.0.1"}
    assert events[1].before == {"name": "a key", "spend_limit_usd": None}
    assert events[1].after == {"name": "n", "spend_limit_usd": "3.00"}


@contextmanager
def counters_gone(settings: Settings) -> Iterator[None]:
    """In the place of their file stands what nobody can read or write; then it is back."""
    file, aside = settings.data_dir / "counters.db", settings.data_dir / "aside"
    file.rename(aside)
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        aside.rename(file)


@pytest.mark.usefixtures("keeper")
def test_an_edit_that_cannot_be_told_is_saved_and_says_so(
    api: Api, app: Flask, live: LiveCounters, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "PATIENCE_SECONDS", 0.1)
    with counters_gone(settings):
        created = api.create()
        assert created["spend"]["spent_usd"] == "0.00"
        path = f"/v1/keys/{created['id']}"
        response = api("PATCH", path, {"name": "n"})
        assert (response.status_code, response.get_json()["code"]) == (503, "saved_but_not_announced")
        assert api("GET", path).get_json()["name"] == "n"
        assert outbox(app) == [created["id"]]  # from which the ledger writer tells it
    assert api("PATCH", path, {"name": "n"}).status_code == 200  # once more, and now it is told
    assert live.version(created["id"]) == 2
    assert json.dumps(created).count("sk-proxy-") == 2


@pytest.mark.usefixtures("keeper")
@pytest.mark.parametrize("action", ["pause", "revoke"])
def test_many_are_told_at_once_so_that_counters_that_are_away_are_waited_for_once(
    api: Api, app: Flask, live: LiveCounters, settings: Settings, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(policy, "PATIENCE_SECONDS", 0.5)
    ids = [str(api.create(name=name)["id"]) for name in "abcdefgh"]
    wanted = {"action": action, "ids": [*ids, "key_none"]}
    with counters_gone(settings):
        begun = time.monotonic()
        answer = api("POST", "/v1/keys/bulk", wanted).get_json()
        waited = time.monotonic() - begun
        statuses = {api("GET", f"/v1/keys/{key_id}").get_json()["status"] for key_id in ids}
    assert [result["status"] for result in answer["results"]] == [503] * 8 + [404]
    assert {result["code"] for result in answer["results"][:-1]} == {"saved_but_not_announced"}
    assert statuses == {{"pause": "paused", "revoke": "revoked"}[action]}
    assert outbox(app) == ids
    assert 0.5 <= waited < 8 * 0.5
    answer = api("POST", "/v1/keys/bulk", wanted).get_json()
    assert (answer["changed"], answer["failed"]) == (8, 1)
    assert [live.version(key_id) for key_id in ids] == [2] * 8


@pytest.mark.usefixtures("keeper", "live")
def test_a_rotation_that_cannot_be_told_gives_its_secret_out(
    api: Api, app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the only one that opens the key from then on, and nobody else will ever tell it."""
    monkeypatch.setattr(policy, "PATIENCE_SECONDS", 0.1)
    created = api.create()
    with counters_gone(settings):
        response = api("POST", f"/v1/keys/{created['id']}/rotate", {"grace_seconds": 0})
    rotated = response.get_json()
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
    assert "could not be told at once" in rotated["notice"]
    with app.app_context():
        living = select(KeySecret).where(KeySecret.key_id == created["id"], KeySecret.valid_until.is_(None))
        assert [row.digest for row in db.session.scalars(living)] == [digest(rotated["key"].encode())]
    assert "notice" not in api("POST", f"/v1/keys/{created['id']}/rotate").get_json()


def test_an_edit_is_answered_at_once_where_no_proxy_runs(
    api: Api, app: Flask, live: LiveCounters, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "PATIENCE_SECONDS", 3600.0)
    with counters_gone(settings):
        key_id = api.create()["id"]
        assert api("PATCH", f"/v1/keys/{key_id}", {"name": "n"}).status_code == 200
    assert (live.version(key_id), outbox(app)) == (None, [key_id])

"""A new secret for the same key; the proxy's part is in tests/e2e/test_edits.py."""

from datetime import timedelta

import pytest
from dashboard_kit import START, Api, Clock
from flask import Flask
from live_counters import LiveCounters
from sqlalchemy import select

from shared.config import Settings
from shared.keys import PROXY_TAG, digest, looks_like_ours
from shared.models import AuditEvent, KeySecret
from webapp.actions.rotation import MOST_SECRETS
from webapp.db import db


def lives(app: Flask, key_id: str) -> dict[str, object]:
    """The digests of a key, and until when each is valid, from the start of the test."""
    with app.app_context():
        rows = db.session.scalars(select(KeySecret).where(KeySecret.key_id == key_id))
        return {row.digest: None if row.valid_until is None else row.valid_until - START for row in rows}


def test_it_works(api: Api, app: Flask, settings: Settings) -> None:
    created = api.create(spend_limit_usd="5", rate_limit_rpm=7)
    path = f"/v1/keys/{created['id']}"
    response = api("POST", f"{path}/rotate")
    assert response.status_code == 200
    assert (response.headers["Cache-Control"], response.headers["ETag"]) == ("no-store", '"v2"')
    rotated = response.get_json()
    secret, secrets = rotated.pop("key"), rotated.pop("secrets")
    assert looks_like_ours(secret.encode(), PROXY_TAG)
    assert secret != created.pop("key")
    assert rotated == created | {"prefix": secret[:13]}
    assert api("GET", path).get_json() == rotated
    assert secrets == [
        {"prefix": secret[:13], "created_at": "2026-11-24T12:00:00Z", "valid_until": None},
        {
            "prefix": created["prefix"],
            "created_at": "2026-11-24T12:00:00Z",
            "valid_until": "2026-11-25T12:00:00Z",
        },
    ]
    for file in settings.data_dir.iterdir():
        assert secret.encode() not in file.read_bytes(), file
    assert lives(app, created["id"])[digest(secret.encode())] is None


@pytest.mark.parametrize("seconds", [0, 1, 604_800])
def test_the_grace_is_as_asked(api: Api, app: Flask, seconds: int) -> None:
    created = api.create()
    response = api("POST", f"/v1/keys/{created['id']}/rotate", {"grace_seconds": seconds})
    old = digest(created["key"].encode())
    assert lives(app, created["id"])[old] == timedelta(seconds=seconds)
    assert len(response.get_json()["secrets"]) == (2 if seconds else 1)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"grace_seconds": -1}, "grace_seconds"),
        ({"grace_seconds": 604_801}, "grace_seconds"),
        ({"grace_seconds": 1.5}, "grace_seconds"),
        ({"grace_seconds": True}, "grace_seconds"),
        ({"grace_seconds": None}, "grace_seconds"),
        ({"grace": 1}, "grace"),
    ],
)
def test_nonsense_is_named_and_nothing_is_rotated(
    api: Api, app: Flask, document: dict[str, object], field: str
) -> None:
    created = api.create()
    response = api("POST", f"/v1/keys/{created['id']}/rotate", document)
    assert response.status_code == 422
    assert [error["field"] for error in response.get_json()["errors"]] == [field]
    assert lives(app, created["id"]) == {digest(created["key"].encode()): None}


def test_a_second_rotation_lengthens_no_life(api: Api, app: Flask, clock: Clock) -> None:
    """And one without grace ends all that were still living: it is what is done about a leak."""
    created = api.create()
    path = f"/v1/keys/{created['id']}/rotate"
    first = digest(created["key"].encode())
    second = digest(api("POST", path, {"grace_seconds": 60}).get_json()["key"].encode())
    clock.forward(seconds=10)
    third = digest(api("POST", path, {"grace_seconds": 600}).get_json()["key"].encode())
    assert lives(app, created["id"]) == {
        first: timedelta(seconds=60),
        second: timedelta(seconds=610),
        third: None,
    }
    last = api("POST", path, {"grace_seconds": 0}).get_json()
    assert [secret["prefix"] for secret in last["secrets"]] == [last["prefix"]]
    assert set(lives(app, created["id"]).values()) == {timedelta(seconds=10), None}
    clock.forward(seconds=1)
    api("POST", path, {"grace_seconds": 0})
    assert len(lives(app, created["id"])) == 2  # what has died is swept out by the next


def test_secrets_do_not_pile_up(api: Api) -> None:
    path = f"/v1/keys/{api.create()['id']}/rotate"
    for _ in range(MOST_SECRETS - 1):
        assert api("POST", path).status_code == 200
    response = api("POST", path)
    assert (response.status_code, response.get_json()["code"]) == (409, "too_many_secrets")
    assert "grace_seconds 0" in response.get_json()["detail"]
    assert api("POST", path, {"grace_seconds": 0}).status_code == 200


def test_proxies_are_told_and_it_is_written_down(api: Api, app: Flask, live: LiveCounters) -> None:
    created = api.create()
    rotated = api("POST", f"/v1/keys/{created['id']}/rotate", {"grace_seconds": 5}).get_json()
    assert live.version(created["id"]) == 2
    with app.app_context():
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.action == "key.rotate")).one()
        assert (event.target, event.actor.startswith("tok_")) == (created["id"], True)
        assert event.before == {"prefix": created["prefix"]}
        assert event.after == {"prefix": rotated["prefix"], "grace_seconds": 5}


def test_what_cannot_be_rotated(api: Api, stranger: Api) -> None:
    key_id = api.create()["id"]
    path = f"/v1/keys/{key_id}/rotate"
    assert stranger("POST", path).status_code == 404
    assert api("POST", path, headers={"If-Match": '"v7"'}).status_code == 412
    assert api("POST", path, headers={"If-Match": '"v1"'}).status_code == 200
    assert api("POST", path, data="x", content_type="text/plain").status_code == 415
    api("DELETE", f"/v1/keys/{key_id}")
    response = api("POST", path)
    assert (response.status_code, response.get_json()["code"]) == (409, "key_revoked")


def test_each_secret_finds_its_key(api: Api) -> None:
    created = api.create(name="searched")
    new = api("POST", f"/v1/keys/{created['id']}/rotate").get_json()["key"]
    for secret in (created["key"], new):
        assert [key["id"] for key in api("GET", f"/v1/keys?q={secret}").get_json()["data"]] == [created["id"]]

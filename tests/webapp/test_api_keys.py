import pytest
from dashboard_kit import FULL, START, Api, Clock, field_errors
from flask import Flask
from forms_kit import count
from sqlalchemy import select

from shared.config import Settings
from shared.keys import PROXY_TAG, digest, looks_like_ours
from shared.models import AuditEvent, KeySecret, ProxyKey, snapshot_of
from shared.policy import matches_model
from webapp.db import db, writing


def test_it_works(api: Api) -> None:
    response = api("POST", "/v1/keys", {"name": "  a key "})
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    created = response.get_json()
    secret = created.pop("key")
    assert looks_like_ours(secret.encode(), PROXY_TAG)
    assert created["id"].startswith("key_")
    assert len(created["id"]) == 30
    assert created == {
        "id": created["id"],
        "name": "a key",
        "prefix": secret[:13],
        "status": "active",
        "paused": False,
        "allowed_providers": [],
        "allowed_models": [],
        "allowed_ips": [],
        "rate_limit_rpm": None,
        "rate_limit_tpm": None,
        "max_concurrent_requests": None,
        "spend_limit_usd": None,
        "spend_reset": "never",
        "spend_limit_boost_usd": None,
        "spend_limit_boost_until": None,
        "model_limits": [],
        "expires_at": None,
        "created_at": "2026-11-24T12:00:00Z",
        "created_by": created["created_by"],  # the id of the token, see test_api_door
        "last_used_at": None,
        "revoked_at": None,
        "tags": [],
        "owner_email": None,
        "note": None,
        "spend": {
            "limit_usd": None,
            "spent_usd": "0.00",
            "held_usd": "0.00",
            "remaining_usd": None,
            "period_start": None,
            "resets_at": None,
            "lifetime_usd": "0.00",
        },
    }
    shown = api("GET", f"/v1/keys/{created['id']}")
    assert shown.get_json() == created
    assert shown.headers["ETag"] == '"v1"'


def test_what_was_set_is_stored(api: Api, app: Flask) -> None:
    created = api.create(**FULL)
    want = FULL | {"spend_limit_usd": "12.50", "expires_at": "2027-01-01T00:00:00Z"}
    assert {name: created[name] for name in FULL} == want
    assert created["spend"]["period_start"] == "2026-11-22T00:00:00Z"
    assert created["spend"]["resets_at"] == "2026-11-29T00:00:00Z"
    assert created["spend"]["remaining_usd"] == "12.50"
    with app.app_context():
        key = snapshot_of(db.session.get_one(ProxyKey, created["id"]), START.timestamp())
        assert key.spend_limit_nanos == 12_500_000_000
        assert [str(network) for network in key.allowed_networks] == ["10.0.0.0/8", "2001:db8::1/128"]
        stored = db.session.scalars(select(KeySecret).where(KeySecret.key_id == created["id"])).one()
        assert stored.digest == digest(created["key"].encode())


def test_only_the_digest_is_stored(api: Api, app: Flask, settings: Settings) -> None:
    secret = api.create()["key"]
    for path in settings.data_dir.iterdir():
        assert secret.encode() not in path.read_bytes(), path


def test_merge_patch(api: Api, clock: Clock) -> None:
    created = api.create(**FULL)
    clock.forward(seconds=1)
    response = api("PATCH", f"/v1/keys/{created['id']}", {"rate_limit_rpm": None, "allowed_ips": None, "name": "new"})
    assert response.status_code == 200
    assert response.headers["ETag"] == '"v2"'
    changed = response.get_json()
    assert changed["rate_limit_rpm"] is None
    assert changed["allowed_ips"] == []
    assert changed["name"] == "new"
    assert changed["allowed_models"] == FULL["allowed_models"]
    assert changed["spend_limit_usd"] == "12.50"


def test_a_patch_without_change_keeps_the_version(api: Api, app: Flask) -> None:
    key_id = api.create(**FULL)["id"]
    before = count(app, AuditEvent)
    for document in ({}, {"name": FULL["name"]}, {"expires_at": "2027-01-01T00:00:00Z"}):
        assert api("PATCH", f"/v1/keys/{key_id}", document).headers["ETag"] == '"v1"'
    assert count(app, AuditEvent) == before


def test_a_bad_patch_changes_nothing(api: Api) -> None:
    created = api.create(**FULL)
    assert set(field_errors(api("PATCH", f"/v1/keys/{created['id']}", {"name": "n", "rate_limit_rpm": "1"}))) == {
        "rate_limit_rpm"
    }
    created.pop("key")
    assert api("GET", f"/v1/keys/{created['id']}").get_json() == created


def test_an_expired_key_keeps_its_expiry_and_can_be_opened_again(api: Api, clock: Clock) -> None:
    key_id = api.create(expires_at="2026-11-24T13:00:00Z")["id"]
    clock.forward(hours=1)
    path = f"/v1/keys/{key_id}"
    assert api("GET", path).get_json()["status"] == "expired"
    assert api("PATCH", path, {"name": "n", "expires_at": "2026-11-24T13:00:00Z"}).status_code == 200
    assert set(field_errors(api("PATCH", path, {"expires_at": "2026-11-24T12:59:59Z"}))) == {"expires_at"}
    assert api("PATCH", path, {"expires_at": "2026-11-25T00:00:00Z"}).get_json()["status"] == "active"


def test_if_match(api: Api) -> None:
    path = f"/v1/keys/{api.create()['id']}"
    for tag in ('"v2"', 'W/"v2"', '"other"', '"v2", "v3"'):
        response = api("PATCH", path, {"name": "n"}, headers={"If-Match": tag})
        assert (response.status_code, response.get_json()["code"]) == (412, "version_mismatch")
    assert api("PATCH", path, {"name": "n"}, headers={"If-Match": '"v1"'}).status_code == 200
    assert api("PATCH", path, {"name": "m"}, headers={"If-Match": '"v1"'}).status_code == 412
    assert api("PATCH", path, {"name": "m"}, headers={"If-Match": "*"}).status_code == 200
    # D10: a proxy that compresses on the way marks tags as weak.
    assert api("PATCH", path, {"name": "n"}, headers={"If-Match": 'W/"v3"'}).status_code == 200


def test_revoke_is_for_ever_and_once_more_is_the_same(api: Api, app: Flask, clock: Clock) -> None:
    key_id = api.create()["id"]
    first = api("DELETE", f"/v1/keys/{key_id}")
    assert first.status_code == 200
    assert first.get_json()["status"] == "revoked"
    events = count(app, AuditEvent)
    clock.forward(hours=1)
    assert api("DELETE", f"/v1/keys/{key_id}").get_json() == first.get_json()
    assert count(app, AuditEvent) == events
    response = api("PATCH", f"/v1/keys/{key_id}", {"name": "n"})
    assert (response.status_code, response.get_json()["code"]) == (409, "key_revoked")
    assert key_id in [key["id"] for key in api("GET", "/v1/keys").get_json()["data"]]


def test_a_key_is_paused_and_resumed_by_patch_and_by_verb(api: Api, app: Flask) -> None:
    key_id = api.create()["id"]
    path = f"/v1/keys/{key_id}"
    for method, address, document, status in (
        ("POST", f"{path}/pause", None, "paused"),
        ("PATCH", path, {"paused": False}, "active"),
        ("PATCH", path, {"paused": True}, "paused"),
        ("POST", f"{path}/resume", None, "active"),
    ):
        for _ in range(2):
            response = api(method, address, document)
            assert response.status_code == 200
            shown = response.get_json()
            assert (shown["status"], shown["paused"]) == (status, status == "paused")
            assert api("GET", path).get_json() == shown
            assert api("GET", path).headers["ETag"] == response.headers["ETag"]
    assert response.headers["ETag"] == '"v5"'
    with app.app_context():
        query = select(AuditEvent).where(AuditEvent.target == key_id).order_by(AuditEvent.id)
        told = [(event.action, event.before, event.after) for event in db.session.scalars(query)][1:]
    assert told == [("key.update", {"paused": not paused}, {"paused": paused}) for paused in (True, False) * 2]


def test_a_key_can_be_made_paused_and_null_resumes_it(api: Api) -> None:
    created = api.create(paused=True)
    assert (created["status"], created["paused"]) == ("paused", True)
    assert api("PATCH", f"/v1/keys/{created['id']}", {"paused": None}).get_json()["paused"] is False


def test_expired_beats_paused_and_revoked_beats_both(api: Api, clock: Clock) -> None:
    path = f"/v1/keys/{api.create(paused=True, expires_at='2026-11-24T13:00:00Z')['id']}"
    assert api("GET", path).get_json()["status"] == "paused"
    clock.forward(hours=1)
    assert api("GET", path).get_json()["status"] == "expired"
    assert api("POST", f"{path}/resume").get_json()["status"] == "expired"
    assert api("POST", f"{path}/pause").get_json()["paused"] is True
    assert api("DELETE", path).get_json()["status"] == "revoked"
    for verb in ("pause", "resume"):
        response = api("POST", f"{path}/{verb}")
        assert (response.status_code, response.get_json()["code"]) == (409, "key_revoked")


def test_a_key_is_revoked_only_as_it_was_seen(api: Api) -> None:
    path = f"/v1/keys/{api.create()['id']}"
    refused = api("DELETE", path, headers={"If-Match": '"v99"'})
    assert (refused.status_code, refused.get_json()["code"]) == (412, "version_mismatch")
    assert api("DELETE", path, headers={"If-Match": "v1"}).status_code == 400
    assert api("GET", path).get_json()["status"] == "active"
    assert api("DELETE", path, headers={"If-Match": 'W/"v1"'}).get_json()["status"] == "revoked"
    assert api("DELETE", path, headers={"If-Match": '"v1"'}).status_code == 200, "sent again, it is the same"


def test_what_has_no_tag_is_changed_for_no_tag(api: Api) -> None:
    """RFC 9110, 13.1.1."""
    path = "/v1/prices/openai/gpt-x"
    rates = {"rates": {"input_tokens": "1", "output_tokens": "2"}}
    for method, document in (("PUT", rates), ("DELETE", None)):
        refused = api(method, path, document, headers={"If-Match": '"v1"'})
        assert (refused.status_code, refused.get_json()["code"]) == (412, "version_mismatch"), method
        assert [error["field"] for error in refused.get_json()["errors"]] == ["If-Match"]
        assert api(method, path, document, headers={"If-Match": "*"}).status_code == 200, method
    assert api("GET", "/v1/prices", headers={"If-Match": '"v1"'}).status_code == 200
    assert api("POST", "/v1/members", {"email": "a@b.example"}, headers={"If-Match": '"v1"'}).status_code == 201


def test_what_is_below_a_key_is_judged_by_no_version_of_it(api: Api) -> None:
    """A client may send the tag that it has of the key with whatever it asks about it."""
    key = api.create()
    path, tag = f"/v1/keys/{key['id']}", {"If-Match": '"v1"'}
    assert api("POST", f"{path}/check", {"model": "gpt-4o"}, headers=tag).status_code == 200
    assert api("PATCH", f"{path}/alerts", {"spend_thresholds": [50]}, headers=tag).status_code == 200
    made = api("POST", f"{path}/hand-overs", {"key": key["key"]}, headers=tag)
    assert made.status_code == 201
    assert api("DELETE", f"{path}/hand-overs/{made.get_json()['id']}", headers=tag).status_code == 200
    bulk = {"ids": [key["id"]], "action": "pause"}
    assert api("POST", "/v1/keys/bulk", bulk, headers=tag).get_json()["changed"] == 1


def test_pause_and_resume_heed_if_match_scope_and_organisation(api: Api, stranger: Api) -> None:
    path = f"/v1/keys/{api.create()['id']}"
    for verb in ("pause", "resume"):
        assert api("POST", f"{path}/{verb}", headers={"If-Match": '"v7"'}).status_code == 412
        assert stranger("POST", f"{path}/{verb}").status_code == 404
    assert api("POST", f"{path}/pause", headers={"If-Match": '"v1"'}).get_json()["status"] == "paused"


def test_an_audit_event_that_cannot_be_written_takes_the_change_back(api: Api, app: Flask) -> None:
    path = f"/v1/keys/{api.create()['id']}"
    with app.app_context():
        with writing() as session:
            session.connection().exec_driver_sql(
                "CREATE TRIGGER full BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
    assert api("PATCH", path, {"name": "n"}).status_code == 503
    assert api("GET", path).get_json()["name"] == "a key"


def test_idempotency(api: Api, clock: Clock) -> None:
    first = api("POST", "/v1/keys", FULL, headers={"Idempotency-Key": "abc"})
    again = api("POST", "/v1/keys", FULL, headers={"Idempotency-Key": "abc"})
    assert again.status_code == 201
    assert "key" not in again.get_json()
    assert again.get_json()["id"] == first.get_json()["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert f"/v1/keys/{first.get_json()['id']}/rotate" in again.get_json()["notice"]
    other = api("POST", "/v1/keys", {"name": "x"}, headers={"Idempotency-Key": "abc"})
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")
    clock.forward(hours=24, seconds=1)
    later = api("POST", "/v1/keys", {"name": "x"}, headers={"Idempotency-Key": "abc"})
    assert "key" in later.get_json()


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_bad_idempotency_keys(api: Api, key: str) -> None:
    assert set(field_errors(api("POST", "/v1/keys", {"name": "x"}, headers={"Idempotency-Key": key}))) == {
        "Idempotency-Key"
    }


def test_idempotency_keys_belong_to_an_organisation(api: Api, stranger: Api) -> None:
    first = api("POST", "/v1/keys", FULL, headers={"Idempotency-Key": "abc"}).get_json()
    theirs = stranger("POST", "/v1/keys", FULL, headers={"Idempotency-Key": "abc"}).get_json()
    assert theirs["id"] != first["id"]
    assert "key" in theirs


def test_problem_details(api: Api) -> None:
    problem = api("GET", "/v1/keys/key_missing").get_json()
    assert set(problem) == {"type", "title", "status", "code", "detail", "request_id", "errors"}
    assert api("GET", "/v1/nothing").mimetype == "application/problem+json"
    response = api("PUT", "/v1/keys", {"name": "x"})
    assert (response.status_code, response.get_json()["code"]) == (405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]


def test_both_names_of_gemini_may_stand_before_a_model(api: Api, app: Flask) -> None:
    """D10: requests accept both, so lists do. What was set is what is shown."""
    created = api.create(allowed_models=["google/gemini-2*", "gemini/gemini-3*"])
    assert created["allowed_models"] == ["google/gemini-2*", "gemini/gemini-3*"]
    with app.app_context():
        key = snapshot_of(db.session.get_one(ProxyKey, created["id"]), START.timestamp())
    for model in ("gemini-2.5-flash", "gemini-3-pro"):
        assert any(matches_model(glob, "gemini", model) for glob in key.allowed_models)
        assert not any(matches_model(glob, "openai", model) for glob in key.allowed_models)


def test_moments_keep_their_offset_out(api: Api) -> None:
    created = api.create(expires_at="2027-06-01T12:30:15.25-05:30")
    assert created["expires_at"] == "2027-06-01T18:00:15.250000Z"

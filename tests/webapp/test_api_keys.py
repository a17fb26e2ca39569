import json

import pytest
from sqlalchemy import func, select

from shared.keys import MANAGEMENT_TAG, PROXY_TAG, digest, looks_like_ours, mint
from shared.models import AuditEvent, KeySecret, ManagementToken, ProxyKey
from webapp.db import db, writing

FULL = {
    "name": "backend-prod",
    "allowed_providers": ["openai", "gemini"],
    "allowed_models": ["gpt-4o*", "gemini/gemini-2.5-flash"],
    "allowed_ips": ["10.0.0.0/8", "2001:db8::1"],
    "rate_limit_rpm": 60,
    "spend_limit_usd": "12.5",
    "spend_reset": "weekly",
    "expires_at": "2027-01-01T02:00:00+02:00",
}


def field_errors(response):
    assert response.status_code == 422, response.text
    assert response.mimetype == "application/problem+json"
    return {error["field"]: error["message"] for error in response.get_json()["errors"]}


def count(app, model):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model))


def test_it_works(api):
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
        "allowed_providers": [],
        "allowed_models": [],
        "allowed_ips": [],
        "rate_limit_rpm": None,
        "spend_limit_usd": None,
        "spend_reset": "never",
        "expires_at": None,
        "created_at": "2026-11-24T12:00:00Z",
        "created_by": api.token[:12],
        "last_used_at": None,
        "revoked_at": None,
        "spend": {
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


def test_what_was_set_is_stored(api, app):
    created = api.create(**FULL)
    want = FULL | {"spend_limit_usd": "12.50", "expires_at": "2027-01-01T00:00:00Z"}
    assert {name: created[name] for name in FULL} == want
    assert created["spend"]["period_start"] == "2026-11-22T00:00:00Z"
    assert created["spend"]["resets_at"] == "2026-11-29T00:00:00Z"
    assert created["spend"]["remaining_usd"] == "12.50"
    with app.app_context():
        key = db.session.get_one(ProxyKey, created["id"]).snapshot()
        assert key.spend_limit_nanos == 12_500_000_000
        assert [str(network) for network in key.allowed_networks] == ["10.0.0.0/8", "2001:db8::1/128"]
        stored = db.session.scalars(select(KeySecret).where(KeySecret.key_id == created["id"])).one()
        assert stored.digest == digest(created["key"].encode())


def test_only_the_digest_is_stored(api, app, settings):
    secret = api.create()["key"]
    for path in settings.data_dir.iterdir():
        assert secret.encode() not in path.read_bytes(), path


BAD = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": "   "}, "name"),
    ({"name": "x" * 81}, "name"),
    ({"name": "a\x00b"}, "name"),
    ({"name": "a\nb"}, "name"),
    ({"name": "\ud800"}, "name"),
    ({"name": 5}, "name"),
    ({"name": None}, "name"),
    ({"name": "x", "allowed_providers": "openai"}, "allowed_providers"),
    ({"name": "x", "allowed_providers": ["mistral"]}, "allowed_providers"),
    ({"name": "x", "allowed_models": ["gpt-[4]"]}, "allowed_models"),
    ({"name": "x", "allowed_models": [""]}, "allowed_models"),
    ({"name": "x", "allowed_models": ["google/gemini-*"]}, "allowed_models"),
    ({"name": "x", "allowed_models": ["openai/"]}, "allowed_models"),
    ({"name": "x", "allowed_models": [4]}, "allowed_models"),
    ({"name": "x", "allowed_models": ["a"] * 201}, "allowed_models"),
    ({"name": "x", "allowed_ips": ["10.0.0.1/8"]}, "allowed_ips"),
    ({"name": "x", "allowed_ips": ["10.0.0.0/0.255.255.255"]}, "allowed_ips"),
    ({"name": "x", "allowed_ips": ["010.0.0.1"]}, "allowed_ips"),
    ({"name": "x", "allowed_ips": ["fe80::1%eth0"]}, "allowed_ips"),
    ({"name": "x", "rate_limit_rpm": -1}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": 1.5}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": True}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": "60"}, "rate_limit_rpm"),
    ({"name": "x", "rate_limit_rpm": 2**63}, "rate_limit_rpm"),
    ({"name": "x", "spend_limit_usd": -1}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": "-0.01"}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": "1e3"}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": "9007199.254740992"}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": False}, "spend_limit_usd"),
    ({"name": "x", "spend_limit_usd": "0.0000000001"}, "spend_limit_usd"),
    ({"name": "x", "spend_reset": "yearly"}, "spend_reset"),
    ({"name": "x", "expires_at": "2026-11-24T12:00:00Z"}, "expires_at"),
    ({"name": "x", "expires_at": "2027-01-01"}, "expires_at"),
    ({"name": "x", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
    ({"name": "x", "expires_at": "2027-02-30T00:00:00Z"}, "expires_at"),
    ({"name": "x", "expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
    ({"name": "x", "expires_at": 1800000000}, "expires_at"),
    ({"name": "x", "org_id": "org_other"}, "org_id"),
    ({"name": "x", "created_by": "me"}, "created_by"),
    ({"name": "x", "spend": {"spent_usd": "0"}}, "spend"),
    ({"name": "x", "nmae": "x"}, "nmae"),
]


@pytest.mark.parametrize(("document", "field"), BAD)
def test_nonsense_is_named_and_nothing_is_written(api, app, document, field):
    before = [count(app, model) for model in (ProxyKey, AuditEvent)]
    assert list(field_errors(api("POST", "/v1/keys", document))) == [field]
    assert [count(app, model) for model in (ProxyKey, AuditEvent)] == before


def test_a_bad_range_is_named(api):
    message = field_errors(api("POST", "/v1/keys", {"name": "x", "allowed_ips": ["10.0.0.0/8", "10.0.0.1/8"]}))
    assert message == {"allowed_ips": "'10.0.0.1/8' has host bits set; did you mean 10.0.0.0/8?"}


def test_all_errors_come_at_once(api):
    errors = field_errors(api("POST", "/v1/keys", {"rate_limit_rpm": -1, "x": 1}))
    assert set(errors) == {"name", "rate_limit_rpm", "x"}


@pytest.mark.parametrize(
    ("number", "usd"),
    [("0.1", "0.10"), ("20", "20.00"), ("1e1", "10.00"), ("0", "0.00"), ("9007199.254740991", "9007199.254740991")],
)
def test_numbers_are_read_from_their_text(api, number, usd):
    raw = f'{{"name": "x", "spend_limit_usd": {number}}}'
    response = api("POST", "/v1/keys", data=raw, content_type="application/json")
    assert response.get_json()["spend_limit_usd"] == usd


@pytest.mark.parametrize("number", ["1e999999999", "-0.5", "9007199.254740992", "1" * 5000, "1e-10"])
def test_numbers_out_of_bounds(api, number):
    raw = f'{{"name": "x", "spend_limit_usd": {number}}}'
    assert set(field_errors(api("POST", "/v1/keys", data=raw, content_type="application/json"))) == {"spend_limit_usd"}


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b'{"name": "x"', 400, "invalid_json"),
        (b'{"name": NaN}', 400, "invalid_json"),
        (b'\xef\xbb\xbf{"name": "x"}', 400, "invalid_json"),
        ('{"name": "x"}'.encode("utf-16"), 400, "invalid_json"),
        (b"[" * 100_000, 400, "invalid_json"),
        (b"", 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b"null", 422, "invalid"),
        (b'{"name": "x", "name": "y"}', 422, "invalid"),
        (b"x" * 1_000_001, 413, "request_too_large"),
    ],
)
def test_bodies_that_are_no_object(api, raw, status, code):
    response = api("POST", "/v1/keys", data=raw, content_type="application/json")
    assert (response.status_code, response.get_json()["code"]) == (status, code)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_other_content_types(api, kind):
    response = api("POST", "/v1/keys", data='{"name": "x"}', content_type=kind)
    assert response.status_code == 415
    assert response.mimetype == "application/problem+json"


def test_merge_patch(api, clock):
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


def test_a_patch_without_change_keeps_the_version(api, app):
    key_id = api.create(**FULL)["id"]
    before = count(app, AuditEvent)
    for document in ({}, {"name": FULL["name"]}, {"expires_at": "2027-01-01T00:00:00Z"}):
        assert api("PATCH", f"/v1/keys/{key_id}", document).headers["ETag"] == '"v1"'
    assert count(app, AuditEvent) == before


def test_a_bad_patch_changes_nothing(api):
    created = api.create(**FULL)
    assert set(field_errors(api("PATCH", f"/v1/keys/{created['id']}", {"name": "n", "rate_limit_rpm": "1"}))) == {
        "rate_limit_rpm"
    }
    created.pop("key")
    assert api("GET", f"/v1/keys/{created['id']}").get_json() == created


def test_an_expired_key_keeps_its_expiry_and_can_be_opened_again(api, clock):
    key_id = api.create(expires_at="2026-11-24T13:00:00Z")["id"]
    clock.forward(hours=1)
    path = f"/v1/keys/{key_id}"
    assert api("GET", path).get_json()["status"] == "expired"
    assert api("PATCH", path, {"name": "n", "expires_at": "2026-11-24T13:00:00Z"}).status_code == 200
    assert set(field_errors(api("PATCH", path, {"expires_at": "2026-11-24T12:59:59Z"}))) == {"expires_at"}
    assert api("PATCH", path, {"expires_at": "2026-11-25T00:00:00Z"}).get_json()["status"] == "active"


def test_if_match(api):
    path = f"/v1/keys/{api.create()['id']}"
    for tag in ('"v2"', 'W/"v1"', "v1", '"other"'):
        response = api("PATCH", path, {"name": "n"}, headers={"If-Match": tag})
        assert (response.status_code, response.get_json()["code"]) == (412, "version_mismatch")
    assert api("PATCH", path, {"name": "n"}, headers={"If-Match": '"v1"'}).status_code == 200
    assert api("PATCH", path, {"name": "m"}, headers={"If-Match": '"v1"'}).status_code == 412
    assert api("PATCH", path, {"name": "m"}, headers={"If-Match": "*"}).status_code == 200


def test_revoke_is_for_ever_and_once_more_is_the_same(api, app, clock):
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


def test_each_write_moves_the_epoch_and_leaves_an_audit_event(api, app, org_id):
    counters = app.extensions["counters"]
    start = counters.epoch(org_id)
    key_id = api.create()["id"]
    assert counters.epoch(org_id) == start + 1
    api("PATCH", f"/v1/keys/{key_id}", {"name": "n", "spend_limit_usd": "3"})
    assert counters.epoch(org_id) == start + 2
    api("DELETE", f"/v1/keys/{key_id}")
    assert counters.epoch(org_id) == start + 3
    with app.app_context():
        query = select(AuditEvent).where(AuditEvent.target == key_id).order_by(AuditEvent.id)
        events = db.session.scalars(query).all()
    assert [event.action for event in events] == ["key.create", "key.update", "key.revoke"]
    assert {event.actor for event in events} == {api.token[:12]}
    assert {event.ip for event in events} == {"127.0.0.1"}
    assert events[1].before == {"name": "a key", "spend_limit_usd": None}
    assert events[1].after == {"name": "n", "spend_limit_usd": "3.00"}


def test_an_audit_event_that_cannot_be_written_takes_the_change_back(api, app):
    path = f"/v1/keys/{api.create()['id']}"
    with app.app_context():
        with writing() as session:
            session.connection().exec_driver_sql(
                "CREATE TRIGGER full BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
    assert api("PATCH", path, {"name": "n"}).status_code == 503
    assert api("GET", path).get_json()["name"] == "a key"


def test_idempotency(api, clock):
    first = api("POST", "/v1/keys", FULL, headers={"Idempotency-Key": "abc"})
    again = api("POST", "/v1/keys", FULL, headers={"Idempotency-Key": "abc"})
    assert again.status_code == 201
    assert "key" not in again.get_json()
    assert again.get_json()["id"] == first.get_json()["id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    other = api("POST", "/v1/keys", {"name": "x"}, headers={"Idempotency-Key": "abc"})
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")
    clock.forward(hours=24, seconds=1)
    later = api("POST", "/v1/keys", {"name": "x"}, headers={"Idempotency-Key": "abc"})
    assert "key" in later.get_json()


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_bad_idempotency_keys(api, key):
    assert set(field_errors(api("POST", "/v1/keys", {"name": "x"}, headers={"Idempotency-Key": key}))) == {
        "Idempotency-Key"
    }


def test_idempotency_keys_belong_to_an_organisation(api, stranger):
    first = api("POST", "/v1/keys", FULL, headers={"Idempotency-Key": "abc"}).get_json()
    theirs = stranger("POST", "/v1/keys", FULL, headers={"Idempotency-Key": "abc"}).get_json()
    assert theirs["id"] != first["id"]
    assert "key" in theirs


def test_others_see_nothing(api, stranger):
    key_id = api.create()["id"]
    missing = stranger("GET", "/v1/keys/key_missing").get_json()
    for method, path, document in (
        ("GET", f"/v1/keys/{key_id}", None),
        ("PATCH", f"/v1/keys/{key_id}", {"name": "n"}),
        ("DELETE", f"/v1/keys/{key_id}", None),
        ("GET", f"/v1/keys/{key_id}/usage", None),
    ):
        response = stranger(method, path, document)
        assert response.status_code == 404
        assert {**response.get_json(), "request_id": ""} == {**missing, "request_id": ""}
    assert stranger("GET", "/v1/keys").get_json()["data"] == []
    assert api("GET", f"/v1/keys/{key_id}").get_json()["status"] == "active"


@pytest.mark.parametrize(
    ("authorization", "words"),
    [
        (None, "Send a management token"),
        ("Basic abc", "Send a management token"),
        ("Bearer", "Send a management token"),
        (f"Bearer {mint(PROXY_TAG).raw}", "This is a proxy key"),
        (f"Bearer {mint(MANAGEMENT_TAG).raw}", "not known here"),
        (f"Bearer {mint(MANAGEMENT_TAG).raw[:-1]}", "mistyped"),
        ("Bearer sk-live-123", "not a management token"),
        ("Bearer ' OR '1'='1", "Send a management token"),
    ],
)
def test_who_is_not_let_in(app, authorization, words):
    headers = {} if authorization is None else {"Authorization": authorization}
    response = app.test_client().get("/v1/keys", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert words in response.get_json()["detail"]
    assert authorization is None or "sk-" not in authorization or authorization.split()[-1] not in response.text


def test_a_revoked_token(api, app):
    with app.app_context(), writing() as session:
        session.scalars(select(ManagementToken)).one().revoked_at = app.extensions["clock"]()
    assert api("GET", "/v1/keys").status_code == 401


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("keys:read", {("GET", "/v1/keys"), ("GET", "/v1/keys/ID")}),
        ("keys:write", {("POST", "/v1/keys"), ("PATCH", "/v1/keys/ID"), ("DELETE", "/v1/keys/ID")}),
        ("usage:read", {("GET", "/v1/keys/ID/usage")}),
    ],
)
def test_scopes(api, app, actor, scope, allowed):
    from webapp.actions.tokens import create_token

    key_id = api.create()["id"]
    with app.app_context():
        api.token = create_token(actor, "narrow", [scope]).secret
    calls = [
        ("POST", "/v1/keys", {"name": "x"}),
        ("GET", "/v1/keys", None),
        ("GET", "/v1/keys/ID", None),
        ("PATCH", "/v1/keys/ID", {"name": "x"}),
        ("DELETE", "/v1/keys/ID", None),
        ("GET", "/v1/keys/ID/usage", None),
    ]
    for method, path, document in calls:
        response = api(method, path.replace("ID", key_id), document)
        if (method, path) in allowed:
            assert response.status_code in (200, 201)
        else:
            assert (response.status_code, response.get_json()["code"]) == (403, "insufficient_scope")


def test_the_last_use_of_a_token_is_noted(api, app, clock):
    clock.forward(minutes=5)
    api("GET", "/v1/keys")
    with app.app_context():
        assert db.session.scalars(select(ManagementToken)).one().last_used_at == clock.now


def test_a_session_does_not_open_the_api(enter):
    client = enter("admin")
    assert client.get("/v1/keys").status_code == 401
    assert client.post("/v1/keys", json={"name": "x"}).status_code == 401


def test_counters_that_are_gone_do_not_lose_a_created_key(api, app, settings):
    (settings.data_dir / "counters.db").unlink()
    (settings.data_dir / "counters.db").mkdir()
    try:
        created = api.create()
        assert created["spend"]["spent_usd"] == "0.00"
        response = api("PATCH", f"/v1/keys/{created['id']}", {"name": "n"})
        assert (response.status_code, response.get_json()["code"]) == (503, "saved_but_not_announced")
    finally:
        (settings.data_dir / "counters.db").rmdir()
    assert api("PATCH", f"/v1/keys/{created['id']}", {"name": "n"}).status_code == 200
    assert json.dumps(created).count("sk-proxy-") == 2


def test_problem_details(api):
    problem = api("GET", "/v1/keys/key_missing").get_json()
    assert set(problem) == {"type", "title", "status", "code", "detail", "request_id", "errors"}
    assert api("GET", "/v1/nothing").mimetype == "application/problem+json"
    response = api("PUT", "/v1/keys", {"name": "x"})
    assert (response.status_code, response.get_json()["code"]) == (405, "method_not_allowed")
    assert "POST" in response.headers["Allow"]


def test_moments_keep_their_offset_out(api):
    created = api.create(expires_at="2027-06-01T12:30:15.25-05:30")
    assert created["expires_at"] == "2027-06-01T18:00:15.250000Z"

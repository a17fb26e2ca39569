"""What comes back as it was served: tags, and whole objects (D10)."""

from typing import Any

import pytest
from dashboard_kit import FULL, Api, Clock, field_errors
from live_counters import LiveCounters


def test_if_none_match(api: Api, live: LiveCounters) -> None:
    """D10. What a key spends changes the object, so its tag as well; an edit goes by the edits alone."""
    key_id = api.create()["id"]
    path = f"/v1/keys/{key_id}"
    for tag in ('"v1"', 'W/"v1"', "*", '"v9", W/"v1"'):
        response = api("GET", path, headers={"If-None-Match": tag})
        assert (response.status_code, response.data, response.headers["ETag"]) == (304, b"", '"v1"')
    assert api("GET", path, headers={"If-None-Match": '"v2"'}).status_code == 200
    live.know(key_id)
    live.seed(key_id)
    live.spend(key_id, live.hold(key_id, 10), 5)
    response = api("GET", path, headers={"If-None-Match": '"v1"'})
    tag = response.headers["ETag"]
    assert response.status_code == 200
    assert tag != '"v1"'
    assert api("GET", path, headers={"If-None-Match": tag}).status_code == 304
    assert api("PATCH", path, {"name": "n"}, headers={"If-Match": '"v1"'}).status_code == 200
    assert api("PATCH", path, {"name": "m"}, headers={"If-Match": tag}).status_code == 412


def test_a_whole_object_may_be_sent_back(api: Api, clock: Clock) -> None:
    """D10: what only the router sets is ignored when it is what was served, and refused when it is not."""
    created = api.create(**FULL)
    path = f"/v1/keys/{created['id']}"
    served = api("GET", path).get_json()
    clock.forward(minutes=1)
    changed = api("PATCH", path, served | {"name": "new", "rate_limit_rpm": 7}).get_json()
    assert changed == served | {"name": "new", "rate_limit_rpm": 7}
    for field, other in (
        ("id", "key_other"),
        ("prefix", "sk-proxy-0000"),
        ("status", "revoked"),
        ("created_at", "2020-01-01T00:00:00Z"),
        ("created_by", "me"),
        ("revoked_at", "2026-11-24T12:00:00Z"),
        ("last_used_at", "2026-11-24T12:00:00Z"),
        ("spend", {"spent_usd": "0.00"}),
        ("spend", None),
    ):
        errors = field_errors(api("PATCH", path, served | {field: other, "name": "newer"}))
        assert errors == {field: "is set by the router and cannot be changed"}
    assert api("GET", path).get_json() == changed


def test_what_is_told_once_may_be_sent_back(api: Api) -> None:
    """D10: the answers of a creation, of its replay and of a rotation are objects that the API gave, too."""
    created = api.create(name="a")
    path = f"/v1/keys/{created['id']}"
    assert api("PATCH", path, created | {"name": "b"}).get_json()["name"] == "b"
    rotated = api("POST", f"{path}/rotate", {}).get_json()
    assert api("PATCH", path, rotated | {"name": "c"}).get_json()["name"] == "c"
    assert api("PATCH", path, created | {"prefix": rotated["prefix"], "name": "d"}).get_json()["name"] == "d"
    once = {"Idempotency-Key": "once"}
    api("POST", "/v1/keys", {"name": "e"}, headers=once)
    replayed = api("POST", "/v1/keys", {"name": "e"}, headers=once).get_json()
    assert "notice" in replayed
    assert api("PATCH", f"/v1/keys/{replayed['id']}", replayed | {"name": "f"}).get_json()["name"] == "f"
    for field, other in (("key", api.create(name="z")["key"]), ("secrets", [{}]), ("secrets", "x"), ("notice", 5)):
        errors = field_errors(api("PATCH", path, {field: other}))
        assert errors == {field: "is set by the router and cannot be changed"}
    assert created["key"] not in api("PATCH", path, created | {"id": "other"}).text


def test_a_status_of_before_the_expiry_may_be_sent_back(api: Api, clock: Clock) -> None:
    """D10: time alone made it another."""
    until = "2026-11-24T13:00:00Z"
    for paused, was, never in ((False, "active", "paused"), (True, "paused", "active")):
        served = api.create(name="x", expires_at=until, paused=paused)
        clock.forward(hours=2)
        path = f"/v1/keys/{served['id']}"
        assert api("PATCH", path, served | {"name": "y"}).get_json()["status"] == "expired"
        assert set(field_errors(api("PATCH", path, {"status": never}))) == {"status"}
        assert set(field_errors(api("PATCH", path, {"status": "revoked"}))) == {"status"}
        assert was == served["status"]
        clock.forward(hours=-2)


def test_other_objects_may_be_sent_back(api: Api) -> None:
    """D10: what the router sets of an organisation, its alerts, webhooks, members and providers."""
    hook = api("POST", "/v1/webhooks", {"url": "https://hooks.example.com/services/abcdefgh"}).get_json()
    member = api("POST", "/v1/members", {"email": "lena@example.com"}).get_json()
    server = {"provider": "groq", "base_url": "https://api.example.com/v1", "credential": "gsk-0123456789"}
    api("POST", "/v1/providers", server)
    credential = api("GET", "/v1/providers/groq").get_json()["credential"]
    for path, change in (
        ("/v1/organization", {"name": "Other"}),
        ("/v1/alerts", {"unused_days": 5}),
        (f"/v1/webhooks/{hook['id']}", {"enabled": False}),
        (f"/v1/members/{member['id']}", {"role": "viewer"}),
        ("/v1/providers/groq", {"base_url": "https://api.example.com/v2"}),
    ):
        served = api("GET", path).get_json()
        changed = api("PATCH", path, served | change)
        assert changed.status_code == 200, changed.text
        assert {name: changed.get_json()[name] for name in change} == change
        for field in served.keys() - {"url", *change, *_settable(api, path)}:
            other = {"x": 1} if isinstance(served[field], dict | list) else "other"
            errors = field_errors(api("PATCH", path, {field: other}))
            assert errors == {field: "is set by the router and cannot be changed"}, field
    one = f"/v1/providers/groq/credentials/{credential['id']}"
    assert api("PATCH", one, credential | {"weight": 3}).get_json()["weight"] == 3
    assert set(field_errors(api("PATCH", one, {"last4": "0000", "id": "x"}))) == {"last4", "id"}
    assert api("PATCH", "/v1/organization", api("GET", "/v1/organization").get_json()).status_code == 200


def _settable(api: Api, path: str) -> set[str]:
    """The fields that a patch of an object may set, as OpenAPI has them."""
    document = api("GET", "/openapi.json").get_json()
    pattern = [*path.split("/")[:3], *("{}" for _ in path.split("/")[3:])]
    for place, operations in document["paths"].items():
        parts = ["{}" if part.startswith("{") else part for part in place.split("/")]
        if parts == pattern:
            schema = operations["patch"]["requestBody"]["content"]["application/json"]["schema"]
            model = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            return set(model["properties"])
    raise AssertionError(path)


def test_if_match_may_name_several_and_has_to_name_one(api: Api) -> None:
    """D10, RFC 9110 13.1.1: what is no list of tags is the caller's fault, and nobody else is blamed for it."""
    path = f"/v1/keys/{api.create()['id']}"
    for header in ('"x", "v1"', '"v7" , W/"v1",', ',"v1"', '"v1-0123abcd"', "*", " * "):
        assert api("POST", f"{path}/pause", headers={"If-Match": header}).get_json()["paused"] is True, header
        assert api("POST", f"{path}/resume", headers={"If-Match": "*"}).status_code == 200
        path = f"/v1/keys/{api.create()['id']}"
    for header in ("v1", "", ",", '"v1', '"v1" "v2"', 'w/"v1"', "garbage", '*, "v1"', '"v 1"'):
        for call in (("PATCH", path, {"name": "n"}), ("POST", f"{path}/pause"), ("POST", f"{path}/rotate", {})):
            answer = api(*call, headers={"If-Match": header})
            assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_if_match"), header
            assert [error["field"] for error in answer.get_json()["errors"]] == ["If-Match"]
    assert api("PATCH", path, {"name": "n"}, headers={"If-Match": '"x", "v9"'}).status_code == 412


@pytest.mark.parametrize("patterns", [{"allowed_models": ["google/gemini-*"]}, {"model_limits": True}])
def test_what_else_stands_before_a_slash_is_no_provider(api: Api, patterns: dict[str, Any]) -> None:
    """Another spelling of a built-in one would shut the key: no request is of a provider called so."""
    limits = [{"model": f"{before}/gemini-*", "spend_limit_usd": "5"} for before in ("google", "openai")]
    fields = {"model_limits": limits} if "model_limits" in patterns else patterns
    place = f"/v1/keys/{api.create(**fields)['id']}"
    for named in ("google", "*", "models"):
        wrong = field_errors(api("PATCH", place, {"allowed_providers": [named]}))
        assert wrong == {"allowed_providers": f"'{named}' is not a provider; choose from openai, anthropic, gemini"}
    assert api("PATCH", place, {"allowed_models": ["openai/a/b"]}).status_code == 422
    assert api("PATCH", place, {"allowed_providers": ["gemini"]}).status_code == 200

"""What comes back as it was served: tags, and whole objects (D10)."""

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
    assert set(field_errors(api("PATCH", path, served | {"key": created["key"]}))) == {"key"}
    assert api("GET", path).get_json() == changed

"""Every fault of a request is told at once, also what only several fields together tell (D7)."""

from datetime import UTC, datetime
from typing import Any

import pytest
from dashboard_kit import Api, field_errors

from webapp.schemas.bulk import BulkChange
from webapp.schemas.keys import NewKey
from webapp.validation import Invalid, read

KEYS: list[tuple[dict[str, Any], set[str]]] = [
    ({"name": "", "spend_limit_boost_usd": "5"}, {"name", "spend_limit_boost_until", "spend_limit_boost_usd"}),
    ({"name": "", "spend_limit_usd": "9", "spend_limit_boost_usd": "5"}, {"name", "spend_limit_boost_until"}),
    ({"name": "x", "spend_limit_boost_usd": "much"}, {"spend_limit_boost_usd", "spend_limit_boost_until"}),
    (
        {"name": "x", "spend_limit_usd": "much", "spend_limit_boost_usd": "5"},
        {"spend_limit_usd", "spend_limit_boost_until"},
    ),
    ({"spend_limit_boost_until": "2026-11-25T00:00:00Z"}, {"name", "spend_limit_boost_usd"}),
    ({"name": "", "\ud800": 1, "foo": 1}, {"name", "\\ud800", "foo"}),
    ({"name": "x", "spend_limit_boost_usd": None, "foo": 1}, {"foo"}),
]


@pytest.mark.parametrize(("document", "fields"), KEYS)
def test_of_a_key(api: Api, document: dict[str, Any], fields: set[str]) -> None:
    assert set(field_errors(api("POST", "/v1/keys", document))) == fields


@pytest.mark.parametrize(("document", "fields"), KEYS)
def test_of_an_edit(api: Api, document: dict[str, Any], fields: set[str]) -> None:
    path = f"/v1/keys/{api.create()['id']}"
    assert set(field_errors(api("PATCH", path, document))) == fields - ({"name"} if "name" not in document else set())


@pytest.mark.parametrize(
    ("document", "fields"),
    [
        ({"action": "extend", "ids": ["key_1"], "foo": 1}, {"foo", "expires_at"}),
        ({"action": "extend"}, {"ids", "expires_at"}),
        ({"action": "pause", "ids": [], "expires_at": None}, {"ids", "expires_at"}),
        ({"action": "burn", "ids": [], "expires_at": None}, {"action", "ids"}),
        ({"action": "extend", "ids": [], "expires_at": "soon"}, {"ids", "expires_at"}),
    ],
)
def test_of_many_keys(api: Api, document: dict[str, Any], fields: set[str]) -> None:
    assert set(field_errors(api("POST", "/v1/keys/bulk", document))) == fields


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("usage?from=2026-11-24&to=2026-11-23&group_by=hour", {"to", "group_by"}),
        ("usage?from=2030-01-01&to=2031-01-01", {"from", "to"}),
        ("usage?from=x&to=2031-01-01", {"from", "to"}),
        ("usage?limit=5&cursor=abc&from=2026-11-24&to=2026-11-23", {"limit", "cursor", "to"}),
        ("usage?group_by=key&cursor=abc&limit=0", {"cursor", "limit"}),
        ("usage?group_by=hour&cursor=abc", {"group_by", "cursor"}),
        ("keys?cursor=abc&limit=0", {"cursor", "limit"}),
        ("keys?cursor=abc&sort=size", {"sort"}),  # a cursor is of a sort, and this is none
        ("requests?cursor=abc&outcome=bad", {"cursor", "outcome"}),
        ("requests?cursor=abc&from=2026-11-24T00:00:00Z&to=2026-11-23T00:00:00Z", {"cursor", "to"}),
        ("refusals?cursor=abc&reason=bad", {"cursor", "reason"}),
        ("audit?cursor=abc&limit=0", {"cursor", "limit"}),
        ("alerts/deliveries?cursor=abc&limit=0", {"cursor", "limit"}),
        ("keys/{}/requests?cursor=abc&limit=0", {"cursor", "limit"}),
        ("forecast?key=a&tag=b&foo=1", {"foo", "tag"}),
    ],
)
def test_of_a_list(api: Api, query: str, fields: set[str]) -> None:
    path = query.format(api.create()["id"])
    assert set(field_errors(api("GET", f"/v1/{path}"))) == fields


def test_of_the_organisation(api: Api) -> None:
    document = {
        "name": "",
        "default_spend_limit_usd": "9",
        "max_spend_limit_usd": "5",
        "default_expiry_days": 9,
        "max_expiry_days": 5,
    }
    told = {"name", "default_spend_limit_usd", "default_expiry_days"}
    assert set(field_errors(api("PATCH", "/v1/organization", document))) == told
    document["default_expiry_days"] = 0
    assert set(field_errors(api("PATCH", "/v1/organization", document))) == told
    assert api("GET", "/v1/organization").get_json()["max_spend_limit_usd"] is None


def test_of_a_member(api: Api) -> None:
    document = {"email": "x", "role": "root", "password": "short"}
    assert set(field_errors(api("POST", "/v1/members", document))) == {"email", "role", "password"}
    named = {"email": "lena@example.com", "role": "root", "password": "lena@example.com"}
    assert set(field_errors(api("POST", "/v1/members", named))) == {"role", "password"}
    assert set(field_errors(api("POST", "/v1/invitations", {"email": "x", "role": "root"}))) == {"email", "role"}


def test_of_addresses(api: Api) -> None:
    hook = {"url": "https://127.0.0.1/", "foo": 1}
    assert set(field_errors(api("POST", "/v1/webhooks", hook))) == {"url", "foo"}
    server = {"provider": "x", "base_url": "http://10.0.0.1/v1", "foo": 1}
    assert set(field_errors(api("POST", "/v1/providers", server))) == {"provider", "base_url", "foo"}


def test_a_rule_of_the_whole_judges_by_nothing_that_is_wrong() -> None:
    """Else a field that has its default only because it is wrong were the ground of a second, false fault."""
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    with pytest.raises(Invalid) as refused:
        read(BulkChange, {"action": 5, "ids": ["key_1"], "expires_at": None}, now=now)
    assert [error.field for error in refused.value.errors] == ["action"]
    said = {"name": "x", "spend_limit_usd": -1, "spend_limit_boost_usd": "5"}
    end = {"spend_limit_boost_until": "2026-11-25T00:00:00Z"}
    with pytest.raises(Invalid) as refused:
        read(NewKey, said | end, now=now, providers=())
    assert [error.field for error in refused.value.errors] == ["spend_limit_usd"]

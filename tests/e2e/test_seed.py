"""Every sentence of what a key does, once through the page and once by JSON, against real processes."""

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from calls import about, chat, code, generate, messages, spend_of
from drivers import ByApi, ByPage, Staff, chromium, unique
from foreign import foreign_key
from harness import Router
from playwright.sync_api import Browser

from shared import keys, money


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(params=["json", pytest.param("page", marks=pytest.mark.browser)])
def staff(router: Router, request: pytest.FixtureRequest) -> Iterator[Staff]:
    if request.param == "json":
        yield ByApi(router)
        return
    context = request.getfixturevalue("browser").new_context()
    context.set_default_timeout(15_000)
    yield ByPage(router, context.new_page())
    context.close()


def test_a_name_is_all_it_takes_and_empty_means_all(router: Router, staff: Staff) -> None:
    key_id, key = staff.create()
    stored = router.key(key_id)
    assert (stored["allowed_providers"], stored["allowed_models"], stored["allowed_ips"]) == ([], [], [])
    assert (stored["rate_limit_rpm"], stored["spend_limit_usd"], stored["expires_at"]) == (None, None, None)
    assert stored["status"] == "active"
    for call in (chat, messages, generate):
        assert call(router, key).status_code == 200


def test_a_name_is_required(router: Router) -> None:
    for name in ("", "   ", "x" * 81, None, 5):
        response = router.api("POST", "/v1/keys", json={"name": name})
        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == ["name"]


def test_providers_can_be_restricted(router: Router, staff: Staff) -> None:
    _, key = staff.create(allowed_providers=["gemini", "anthropic"])
    assert code(chat(router, key)) == "provider_not_allowed"
    assert messages(router, key).status_code == 200
    assert generate(router, key).status_code == 200


def test_models_can_be_restricted_by_glob(router: Router, staff: Staff) -> None:
    _, key = staff.create(allowed_models=["gpt-4o*", "anthropic/claude-*"])
    assert chat(router, key, model="gpt-4o").status_code == 200
    assert chat(router, key, model="gpt-4o-mini").status_code == 200
    assert messages(router, key).status_code == 200
    assert code(chat(router, key, model="gpt-4.1")) == "model_not_allowed"


def test_addresses_can_be_restricted_by_address_and_range(router: Router, staff: Staff) -> None:
    _, here = staff.create(allowed_ips=["127.0.0.1", "10.0.0.0/8"])
    assert chat(router, here).status_code == 200
    _, there = staff.create(allowed_ips=["192.0.2.0/24", "2001:db8::1"])
    assert code(chat(router, there)) == "ip_blocked"


def test_the_rate_can_be_limited(router: Router, staff: Staff) -> None:
    _, key = staff.create(rate_limit_rpm=3)
    assert [chat(router, key).status_code for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize("reset", ["never", "daily", "weekly", "monthly"])
def test_spend_can_be_limited_with_each_period(router: Router, staff: Staff, reset: str) -> None:
    key_id, key = staff.create(spend_limit_usd="0.05", spend_reset=reset)
    assert chat(router, key).status_code == 200
    spend = spend_of(router, key_id)
    assert 0 < float(spend["spent_usd"]) < 0.05
    assert money.from_usd(spend["spent_usd"]) + money.from_usd(spend["remaining_usd"]) == money.from_usd("0.05")
    assert (spend["resets_at"] is None) == (reset == "never")
    if spend["resets_at"]:
        ends = datetime.fromisoformat(spend["resets_at"])
        assert ends > datetime.now(UTC)
        assert (ends.hour, ends.minute) == (0, 0)
        assert reset != "weekly" or ends.isoweekday() == 7
        assert reset != "monthly" or ends.day == 1
    staff.edit(key_id, spend_limit_usd=spend["spent_usd"])
    assert code(chat(router, key)) == "spend_exceeded"


def test_a_key_can_expire(router: Router) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    key_id, key = ByApi(router).create(expires_at=soon.isoformat())
    assert chat(router, key).status_code == 200
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))
    assert code(chat(router, key)) == "key_expired"
    assert router.key(key_id)["status"] == "expired"


def test_the_page_offers_expiry_dates(router: Router, staff: Staff) -> None:
    if isinstance(staff, ByApi):
        key_id, _ = staff.create(expires_at="2099-01-01T02:00:00+02:00")
        assert router.key(key_id)["expires_at"] == "2099-01-01T00:00:00Z"
        return
    key_id, _ = staff.create(expires="30")
    left = datetime.fromisoformat(router.key(key_id)["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=30) <= left <= timedelta(days=30, hours=1)


def test_the_raw_key_is_shown_once_and_stored_nowhere(router: Router, staff: Staff) -> None:
    key_id, key = staff.create(spend_limit_usd="1")
    assert chat(router, key).status_code == 200
    assert keys.looks_like_ours(key.encode(), keys.PROXY_TAG)
    stored = router.key(key_id)
    assert stored["prefix"] == key[:13]
    assert key not in str(stored)
    if isinstance(staff, ByPage):
        staff.page.goto(f"{router.web_url}/keys")
        assert key not in staff.page.content()
        staff.page.go_back()
        assert key not in staff.page.content()
    for path in sorted(router.data_dir.rglob("*")):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path.name
    assert key not in str(router.logs())
    database = sqlite3.connect(router.data_dir / "router.db")
    (digest,) = database.execute("select digest from key_secrets where key_id = ?", (key_id,)).fetchone()
    database.close()
    assert digest == keys.digest(key.encode())


@pytest.mark.parametrize(
    ("closed", "expected", "opened"),
    [
        ({"allowed_providers": ["gemini"]}, "provider_not_allowed", {"allowed_providers": []}),
        ({"allowed_models": ["o3*"]}, "model_not_allowed", {"allowed_models": []}),
        ({"allowed_ips": ["192.0.2.1"]}, "ip_blocked", {"allowed_ips": []}),
        ({"rate_limit_rpm": 1}, "rate_limited", {"rate_limit_rpm": None}),
        ({"spend_limit_usd": "0", "spend_reset": "weekly"}, "spend_exceeded", {"spend_limit_usd": None}),
        ({"paused": True}, "key_paused", {"paused": False}),
    ],
)
def test_every_edit_takes_effect_on_the_next_request(
    router: Router, staff: Staff, closed: dict[str, object], expected: str, opened: dict[str, object]
) -> None:
    key_id, key = staff.create()
    assert chat(router, key).status_code == 200
    staff.edit(key_id, **closed)
    assert [code(chat(router, key)) for _ in range(4)] == [expected] * 4
    staff.edit(key_id, **opened)
    assert [chat(router, key).status_code for _ in range(4)] == [200] * 4


def test_the_name_can_be_edited(router: Router, staff: Staff) -> None:
    key_id, key = staff.create()
    name = unique("renamed")
    staff.edit(key_id, name=name)
    assert router.key(key_id)["name"] == about(router, key)["name"] == name


def test_revoking_is_for_ever(router: Router, staff: Staff) -> None:
    key_id, key = staff.create()
    assert chat(router, key).status_code == 200
    staff.revoke(key_id)
    for call in (chat, messages, generate):
        response = call(router, key)
        assert (response.status_code, code(response)) == (403, "key_revoked")
    assert (
        requests.get(f"{router.proxy_url}/v1/models", headers={"Authorization": f"Bearer {key}"}, timeout=10).headers[
            "x-router-error"
        ]
        == "key_revoked"
    )
    assert staff.status(key_id) == "revoked"
    changes: tuple[dict[str, object], ...] = ({"name": "back"}, {"expires_at": None}, {"allowed_models": []})
    for change in changes:
        response = router.api("PATCH", f"/v1/keys/{key_id}", json=change)
        assert (response.status_code, response.json()["type"].rsplit(":", 1)[-1]) == (409, "key_revoked")
    assert router.api("DELETE", f"/v1/keys/{key_id}").status_code == 200
    assert code(chat(router, key)) == "key_revoked"


def test_the_three_states(router: Router, staff: Staff) -> None:
    active, _ = staff.create()
    assert staff.status(active) == "active"
    soon = datetime.now(UTC) + timedelta(seconds=1)
    expired, _ = ByApi(router).create(expires_at=soon.isoformat())
    time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()))
    assert staff.status(expired) == "expired"
    staff.revoke(expired)
    assert staff.status(expired) == "revoked"


def test_the_list_shows_the_own_organisation_only(router: Router, staff: Staff) -> None:
    mine = unique("mine")
    staff.create(name=mine)
    theirs = foreign_key(router, unique("theirs"))
    names = staff.names()
    assert mine in names
    assert theirs["name"] not in names
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/usage")):
        response = router.api(
            method, f"/v1/keys/{theirs['id']}{path}", json={"name": "x"} if method == "PATCH" else None
        )
        assert response.status_code == 404
    assert router.api("GET", "/v1/keys/key_00000000000000000000000000").status_code == 404

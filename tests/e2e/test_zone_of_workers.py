"""The time zone of an organisation over two real worker processes, and its field in Chromium."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from calls import about, chat, code
from drivers import chromium, log_in
from harness import Json, Router
from pages_kit import check
from playwright.sync_api import expect

from shared import periods

EAST, WEST = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # +14 and -11: in one of them it is always another day


@pytest.fixture
def zoned(router: Router) -> Iterator[Router]:
    """Other tests share the organisation."""
    yield router
    in_zone(router, None)


def in_zone(router: Router, zone: str | None) -> None:
    answer = router.api("PATCH", "/v1/organization", json={"time_zone": zone})
    assert answer.status_code == 200, answer.text


def elsewhere() -> str:
    """A zone in which it is another day than in UTC, and will be for an hour."""
    return EAST if datetime.now(UTC).hour >= 10 else WEST


def settled(router: Router, key: str) -> Json:
    """What a key is told once nothing is held any more: another worker may have the end of a call still to tell."""
    ends = time.monotonic() + 10
    while (told := about(router, key))["spend"]["held_usd"] != "0.00" and time.monotonic() < ends:
        time.sleep(0.02)
    return told


def test_it_works(zoned: Router) -> None:
    """What a key is told, what it may spend, the ledger and usage: all by the day there, from the next request on."""
    router, zone = zoned, elsewhere()
    key_id, key = router.create_key(name="elsewhere", spend_limit_usd="1", spend_reset="daily")
    assert chat(router, key).status_code == 200
    in_zone(router, zone)
    day = periods.day_of(time.time(), zone)
    ends = periods.local_day(zone, time.time()).ends
    answers = [chat(router, key) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["x-spend-reset"] for answer in answers} == {str(ends)}
    told = settled(router, key)
    assert (told["time_zone"], told["spend"]["resets_at"]) == (zone, periods.moment_text(ends))
    spend = router.key(key_id)["spend"]
    assert (spend["spent_usd"], spend["resets_at"]) == (told["spend"]["spent_usd"], told["spend"]["resets_at"])
    router.wait_for_ledger(key_id, 6)
    around = {"from": str(day - timedelta(days=2)), "to": str(day + timedelta(days=2))}
    found = router.api("GET", f"/v1/keys/{key_id}/usage", params=around).json()["data"]
    by_day = {line["day"]: (line["requests"], line["cost_usd"]) for line in found}
    assert by_day[day.isoformat()] == (6, spend["spent_usd"])
    assert by_day[datetime.now(UTC).date().isoformat()][0] == 1
    router.edit(key_id, spend_limit_usd="0.000000001")
    refused = chat(router, key)
    assert code(refused) == "spend_exceeded"
    assert f"It resets at {periods.moment_text(ends)}." in refused.json()["error"]["message"]
    dry = router.api("POST", f"/v1/keys/{key_id}/check", json={"model": "gpt-4o-mini", "max_tokens": 16}).json()
    assert dry["refusal"]["facts"]["resets_at"] == periods.moment_text(ends)


def test_there_and_back_again_finds_what_was_spent(zoned: Router) -> None:
    router, zone = zoned, elsewhere()
    _, key = router.create_key(name="there and back", spend_limit_usd="1", spend_reset="daily")
    spent = {None: "0.00", zone: "0.00"}
    for zone_now in (None, zone, None, zone):
        in_zone(router, zone_now)
        assert about(router, key)["spend"]["spent_usd"] == spent[zone_now]
        assert {chat(router, key).status_code for _ in range(3)} == {200}
        spent[zone_now] = settled(router, key)["spend"]["spent_usd"]
    assert spent[None] == spent[zone] != "0.00"


@pytest.mark.browser
def test_a_zone_is_found_by_a_part_of_its_name(zoned: Router) -> None:
    with chromium() as browser:
        page = browser.new_page(base_url=zoned.web_url)
        log_in(page, zoned)
        page.goto("/settings")
        field = page.get_by_label("Time zone")
        expect(field).to_have_value("UTC")
        offered = field.evaluate("one => [...one.list.options].map(o => o.value).filter(v => v.includes('Berl'))")
        assert offered == ["Europe/Berlin"]
        field.fill("Europe/Berln")
        page.get_by_role("button", name="Save settings").click()
        expect(field).to_be_focused()
        expect(page.get_by_text("did you mean Europe/Berlin?").first).to_be_visible()
        check(page)
        field.fill("europe/berlin")
        page.get_by_role("button", name="Save settings").click()
        expect(page.get_by_label("Time zone")).to_have_value("Europe/Berlin")
        page.goto("/usage")
        expect(page.get_by_text("in days of Europe/Berlin.")).to_be_visible()

"""The table of keys in Chromium: its rows, its menus, its heads, and changes of many keys that show how far they are."""

import re
from collections.abc import Callable

import pytest
from harness import Router
from pages_kit import check, expect_focus, open_dialog
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser
SECRET = re.compile(r"^sk-proxy-[0-9a-f]{64}$")
LONG = {
    "allowed_models": ["gpt-4o*", "o3", "claude-*", "anthropic/claude-opus-4-1"],
    "spend_limit_usd": "1234.567891",
    "expires_at": "2199-01-01T00:00:00Z",
}


@pytest.fixture(scope="module")
def many(dashboard: Router) -> list[str]:
    """Keys enough for a page, the last with a long name and something in every column."""
    ids = [dashboard.create_key(name=f"service {number:02d}")[0] for number in range(24)]
    return [*ids, dashboard.create_key(name="a long name of a service " * 3, rate_limit_rpm=1_000_000, **LONG)[0]]


def test_rows_are_of_one_height_and_within_the_window(visit: Callable[..., Page], many: list[str]) -> None:
    page = visit()
    for width in (640, 768, 1100, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        rows = page.evaluate(
            "[...document.querySelectorAll('#keys-body tr')].map(r => r.getBoundingClientRect().toJSON())"
        )
        assert len(rows) == 25
        heights = {round(row["height"]) for row in rows}
        assert len(heights) == 1, (width, heights)
        assert max(heights) <= 52
        assert width < 1280 or sum(row["bottom"] <= 900 for row in rows) >= 15, (width, rows[0]["top"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_narrow_windows_show_cards(visit: Callable[..., Page], many: list[str]) -> None:
    page = visit(viewport={"width": 360, "height": 800})
    heights = page.evaluate("[...document.querySelectorAll('#keys-body tr')].map(row => row.offsetHeight)")
    assert max(heights) <= 120
    page.locator(f"#row-{many[-1]} .state summary").click()
    page.locator(f"#row-{many[-1]} .state .pop-body").wait_for()
    check(page)
    page.locator(f"#actions-{many[-1]}").click()
    expect(page.locator("details.pop[open]")).to_have_count(1)
    page.locator(f"#edit-{many[-1]}").wait_for()
    check(page)


def test_a_change_of_many_shows_how_far_it_is(visit: Callable[..., Page], dashboard: Router, many: list[str]) -> None:
    page = visit()
    page.locator("#pick-all").check()
    expect(page.locator("#picked")).to_have_text("25 selected")
    dialog = open_dialog(page, "#bulk-pause")
    expect(dialog.locator("#panel-title")).to_have_text("Pause 25 keys?")
    expect_focus(page, "Cancel")
    dialog.get_by_role("button", name="Pause").click()
    expect(dialog.locator("#bulk-step")).to_contain_text("25 paused.", timeout=30_000)
    expect(dialog.locator("#bulk-results li")).to_have_count(25)
    check(page)
    dialog.get_by_text("Close").click()
    expect(page.locator("#keys-body .pill", has_text="Paused")).to_have_count(25)
    expect(page.locator("#bulk")).to_be_hidden()
    assert {dashboard.key(key_id)["status"] for key_id in many} == {"paused"}
    page.locator(f"#row-{many[0]} [name=ids]").check()
    page.locator(f"#row-{many[1]} [name=ids]").check()
    expect(page.locator("#picked")).to_have_text("2 selected")
    open_dialog(page, "#bulk-extend")
    page.keyboard.press("Escape")
    expect_focus(page, "bulk-extend")
    dialog = open_dialog(page, "#bulk-extend")
    dialog.locator("#key-expires").select_option("custom")
    dialog.get_by_role("button", name="Change expiry").click()
    expect(dialog.locator("#key-expires_at-error")).to_contain_text("Pick a date")


def test_rotating_shows_the_new_secret_once(visit: Callable[..., Page], many: list[str]) -> None:
    page = visit()
    page.locator(f"#actions-{many[-1]}").click()
    dialog = open_dialog(page, f"#rotate-{many[-1]}")
    dialog.locator("#rotate-grace_seconds").select_option("3600")
    dialog.get_by_role("button", name="Make a new secret").click()
    secret = dialog.locator("#secret")
    expect(secret).to_have_value(SECRET)
    raw = secret.input_value()
    page.keyboard.press("Escape")
    expect(secret).to_be_visible()
    expect(page.locator(f"#row-{many[-1]}")).to_contain_text(raw[:13])
    dialog.locator("[data-saved]").click()
    expect_focus(page, f"actions-{many[-1]}")
    assert raw not in page.content()
    assert raw not in page.evaluate("JSON.stringify([localStorage, sessionStorage, history.state, location.href])")
    page.locator(f"#actions-{many[-1]}").click()
    dialog = open_dialog(page, f"#rotate-{many[-1]}")
    expect(dialog.locator("li")).to_have_count(2)
    dialog.get_by_role("button", name="End the old secret now").click()
    expect(dialog.locator(".alert-success")).to_contain_text("is refused from the next request on")
    expect(dialog.locator("li")).to_have_count(1)


def test_heads_sort_and_the_form_follows(visit: Callable[..., Page], many: list[str]) -> None:
    page = visit()
    page.locator("#sort-name").click()
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Key")
    expect(page.locator("#order")).to_have_value("name")
    expect(page).to_have_url(re.compile(r"\?sort=name$"))
    expect_focus(page, "sort-name")
    page.keyboard.press("Enter")
    expect(page.locator("#order")).to_have_value("-name")
    page.locator("#page-size").select_option("50")
    expect(page).to_have_url(re.compile(r"\?sort=-name&limit=50$"))
    check(page)


def test_many_are_changed_and_one_is_rotated_without_javascript(
    visit: Callable[..., Page], dashboard: Router, many: list[str]
) -> None:
    page = visit(java_script_enabled=False)
    for key_id in many[3:5]:
        page.locator(f"#row-{key_id} [name=ids]").check()
    page.locator("#bulk-resume").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#bulk-step")).to_contain_text("2 resumed.")
    page.get_by_role("link", name="Close").click()
    expect(page.locator(f"#row-{many[3]} .pill")).to_contain_text("Active")
    page.locator(f"#actions-{many[3]}").click()
    page.locator(f"#rotate-{many[3]}").click()
    page.get_by_role("button", name="Make a new secret").click()
    expect(page.locator("#secret")).to_have_value(SECRET)
    page.get_by_text("I have saved this key").click()
    expect(page.locator("h1")).to_have_text("API Keys")

"""Requests and the audit log in Chromium, before a running proxy: causes found by hand, and what is new as it comes."""

import re
import time
from collections.abc import Callable

import pytest
from calls import chat
from drivers import log_in
from harness import Json, Router, eventually
from pages_kit import check
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def dashboard(router: Router) -> Router:
    """In the place of the one without a proxy."""
    return router


def requests_of(router: Router, key_id: str) -> list[Json]:
    data: list[Json] = router.api("GET", f"/v1/keys/{key_id}/requests").json()["data"]
    return data


def show(page: Page, router: Router, path: str) -> None:
    page.goto(f"{router.web_url}{path}")


def test_it_works(visit: Callable[..., Page], dashboard: Router) -> None:
    """An app gets a 403: two clicks to its cause, one more to the field that refused."""
    key_id, key = dashboard.create_key(name="an app in trouble", allowed_models=["gpt-4o*"])
    denied = chat(dashboard, key, model="gpt-4.1")
    assert denied.status_code == 403
    page = visit()
    page.get_by_role("link", name="Requests").click()
    page.get_by_role("link", name="Refused", exact=True).click()
    row = page.locator("tr", has_text="an app in trouble")
    expect(row).to_contain_text("gpt-4.1")  # which comes by itself, if it was not there yet
    row.get_by_role("link", name="Model not allowed").click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text(denied.json()["error"]["message"])
    expect(dialog).to_contain_text("Add the model to the allowed models of the key")
    check(page)
    dialog.get_by_role("link", name="Change this rule").click()
    page.wait_for_url(re.compile(f"/keys/{key_id}/edit#key-allowed_models$"))
    expect(page.locator("#key-allowed_models")).to_have_value("gpt-4o*")
    # And by the id that the app was told.
    show(page, dashboard, f"/requests?id={denied.headers['x-request-id']}")
    page.get_by_role("link", name="See why").click()
    expect(page.locator("h1")).to_have_text("Model not allowed")


def test_what_is_new_comes_by_itself_unless_somebody_reads(visit: Callable[..., Page], dashboard: Router) -> None:
    """Within two seconds of the answer, as the contract of this page has it."""
    key_id, key = dashboard.create_key(name="refused while looked at", paused=True)
    page = visit()
    show(page, dashboard, f"/requests/refused?key={key_id}")
    expect(page.locator("#results")).to_contain_text("Nothing matches")
    page.mouse.move(5, 5)
    took = []
    for count in range(1, 6):
        assert chat(dashboard, key).status_code == 403
        begun = time.monotonic()
        expect(page.locator("tbody tr .log-number")).to_contain_text(re.compile(rf"\b{count}$"))
        took.append(time.monotonic() - begun)
    assert sorted(took)[2] < 2.0, f"seen after {took} s"
    page.locator("tbody tr").hover()
    assert chat(dashboard, key).status_code == 403
    latest = page.get_by_role("link", name="Something is new. Show the latest")
    expect(latest).to_be_visible()
    expect(page.locator("tbody tr .log-number")).to_contain_text(re.compile(r"\b5$"))
    check(page)
    latest.click()
    expect(page.locator("tbody tr .log-number")).to_contain_text(re.compile(r"\b6$"))
    page.locator("tbody tr a").first.click()
    expect(page.locator("dialog[open]")).to_contain_text("Key paused")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.id.startsWith('open-')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lists_and_dialogs_of_each_size(visit: Callable[..., Page], dashboard: Router, scheme: str) -> None:
    """Rows of one line from 640 px on, cards below; nothing for axe to find."""
    key_id, key = dashboard.create_key(
        name=f"a name as long as somebody makes it, seen in the {scheme}", spend_limit_usd="5"
    )
    assert chat(dashboard, key).status_code == 200
    eventually(lambda: len(requests_of(dashboard, key_id)) == 1, what="the request in the ledger")
    refused_id, refused = dashboard.create_key(name=f"paused in the {scheme}", paused=True)
    assert chat(dashboard, refused).status_code == 403
    eventually(lambda: dashboard.api("GET", f"/v1/keys/{refused_id}/refusals").json()["data"] != [], what="the refusal")
    page = visit(color_scheme=scheme)
    for width in (360, 768, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 860})
        for path in (f"/requests?key={key_id}", "/requests/refused", f"/audit?target={key_id}"):
            show(page, dashboard, path)
            row = page.locator("tbody tr").first
            box = row.bounding_box()
            assert box is not None
            assert box["height"] <= (120 if width < 640 else 52), (path, width, box)
            if width < 640 and "/audit" not in path:  # the second cell of each line ends where the others do
                ends = row.evaluate("row => [1, -1].map((place) => [...row.children].filter((one) => one.checkVisibility())"
                                    ".at(place).getBoundingClientRect().right)")  # fmt: skip
                assert ends[0] == pytest.approx(ends[1], abs=1), path
            check(page)
            if width in (360, 1280):
                row.locator("[hx-target='#modal-body']").click()
                page.locator("dialog[open] #panel-title").wait_for()
                check(page)


def test_without_javascript(browser: Browser, dashboard: Router) -> None:
    """Filters, rows and pages are forms and links."""
    key_id, key = dashboard.create_key(name="without scripts", paused=True)
    assert chat(dashboard, key).status_code == 403
    eventually(lambda: dashboard.api("GET", f"/v1/keys/{key_id}/refusals").json()["data"] != [], what="the refusal")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        log_in(page, dashboard)
        show(page, dashboard, "/requests/refused")
        page.locator("#q").fill("without scripts")
        page.locator("select[name=reason]").select_option("key_paused")
        page.get_by_role("button", name="Apply").click()
        page.get_by_role("link", name="Key paused").click()
        expect(page.locator("h1")).to_have_text("Key paused")
        show(page, dashboard, "/audit")
        page.locator("#target").fill("without scripts")
        page.get_by_role("button", name="Apply").click()
        page.get_by_role("link", name="Created a key").click()
        expect(page.locator("table")).to_contain_text("without scripts")
